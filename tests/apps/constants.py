"""Has attributes, of which none is an application."""
number = 7


class Config:
    text = "not callable"
