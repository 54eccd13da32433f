"""The control plane's pages: one module each, all named in `table`.

A page is a function of the request that only reads; what it offers to do, it does by POST through `operations`.
`base` holds what they share, `site` mounts them in Django's admin.
"""
