"""What a reader sees of a study: notebooks, tables, figures, pages."""

# What executes notebooks and makes pages of them; a core installation lacks some of it.
PACKAGES = ("papermill", "ipykernel", "nbconvert", "jinja2", "bs4", "nh3", "matplotlib", "seaborn")
