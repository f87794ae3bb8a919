"""People and the rules about them as files: read, checked, compared with what stands, brought in and written out."""
