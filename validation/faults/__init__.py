"""Defects planted into frameworks, NIR files and recordings, to judge who looks for their causes.

`bodies`, `drawn`, `live`, `files` and `otherwise` make recordings and know which layer is wrong and
why; they import nothing that looks for causes. `battery` verifies what they made.
"""
