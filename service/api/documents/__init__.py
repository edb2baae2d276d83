"""Read and write documents, feedback.

routes.py   live routes
schemas.py  live schemas
"""
