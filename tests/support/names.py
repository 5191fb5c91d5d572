"""Names of people that are legal and that injection, shells, pages or spreadsheets may stumble over."""

NAMES = {
    "space": "Ada Lovelace",
    "accent": "Ren\u00e9e",
    "combined accent": "Andre\u0301",
    "quote": "O'Hara",
    "double quote": 'A "B" C',
    "angle brackets": "<img src=x onerror=alert(1)>",
    "dots": "J.R.R.",
    "ampersand": "A&B",
    "other script": "\u738b\u82b3",
    "percent": "100%s",
    "braces": "{{7*7}}",
    "backtick": "`id`",
    "dollar": "$(id)",
    "comma": "Smith, John",
    "long": "x" * 200,
}
