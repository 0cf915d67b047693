"""The commands, one file each. A file that is added here is a command: it registers itself.

Every module is light: TensorFlow and what needs it are imported when a command works, so that help
and lists answer at once.
"""
