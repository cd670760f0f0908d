"""What people ask about pictures and models, answered from the records of any revision: nothing here prints."""
