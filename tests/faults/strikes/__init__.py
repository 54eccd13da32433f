"""What each fault does to the world. A strike returns when the world is whole again.

It may return how often it struck, where that is in doubt: how many replies were dropped, how many requests spoilt.
"""
