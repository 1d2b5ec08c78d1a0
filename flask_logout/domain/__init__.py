"""The rules: what identifies a token, what revokes it, and how refresh tokens rotate.

This package uses no Flask, SQL or clock. Its functions depend only on their arguments.
"""
