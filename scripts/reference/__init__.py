"""Generate the reference of the documentation from the code: `make reference`.

__main__.py   write all pages below docs/reference/, or compare them (`--check`)
markdown.py   tables in Markdown
cli.py        every command with its flags, as `--help` has them
settings.py   environment variables of the service, of the other programs and of the containers
artifacts.py  fields of the manifest, and files in the data directory
service.py    routes, problems and metrics of the service
reports.py    fields of the reports that training writes
"""
