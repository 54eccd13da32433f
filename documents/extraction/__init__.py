"""Text, pages and metadata out of untrusted files, in a sandboxed child process. Imports no Django.

`identify.identify` judges a file by its bytes, `sandbox.Sandbox` runs the engines of `registry` on it.
"""
