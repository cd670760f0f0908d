"""python -m pipelines.demo FOLDER: lays the offline demo out."""

from lineage import stage
from pipelines.demo import main

stage.command(main)
