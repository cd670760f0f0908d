"""Meeting the web: img2dataset behind a gateway that checks, waits, asks for leave and keeps what came."""
