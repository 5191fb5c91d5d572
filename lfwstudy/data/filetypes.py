"""Files that are given as images and are none that this program reads: named by their first bytes, with what to do."""

import re

# So many bytes of a file are enough to name it.
HEAD = 1024
_CONVERT = "save it as JPEG or PNG and give that"
_KINDS = [
    (re.compile(start, re.DOTALL | re.IGNORECASE), f"{name}; {advice}")
    for start, name, advice in (
        (rb"....ftyp(?=.{0,60}avi[fs])", "an AVIF image, which is not read", _CONVERT),
        (
            rb"....ftyp(hei|hev|mif1|msf1)",
            "a HEIC image, which is not read",
            f"{_CONVERT} (an iPhone takes JPEG with Settings, Camera, Formats, Most Compatible)",
        ),
        (
            rb"....ftypcrx |II\*\0....CR|IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW|II....HEAPCCDR|FOVb|\0MRM",
            "a camera's raw photo, which is not read",
            f"develop it, {_CONVERT}",
        ),
        (
            rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01[\xb3\xba]",
            "a video",
            "save one of its frames as JPEG or PNG and give that",
        ),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image, which is not read", _CONVERT),
        (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ", "a JPEG 2000 image, which is not read", _CONVERT),
        (rb"%PDF-", "a PDF document", _CONVERT),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document", _CONVERT),
        (rb"8BPS", "a Photoshop document", _CONVERT),
        (rb"gimp xcf", "a GIMP document", _CONVERT),
        (rb"v/1\x01|#\?RADIANCE|#\?RGBE", "an image of high dynamic range, which is not read", _CONVERT),
        (rb".{128}DICM", "a DICOM image, which is not read", _CONVERT),
        (
            rb"\0\x05\x16[\0\x07]",
            "a Mac's notes on a file, not the file",
            "give the one without ._ at the start of its name",
        ),
        (rb"\x93NUMPY", "a NumPy array", _CONVERT),
        (rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!", "an archive", "unpack it and give the image in it"),
        (
            rb"version https://git-lfs\.github\.com/",
            "a Git LFS pointer in place of the file",
            "run `git lfs pull` where it was cloned",
        ),
        (
            rb"(\.\./)*(\.git|/annex)/\S*(annex|objects)/",
            "a git-annex pointer in place of the file",
            "run `git annex get` where it was cloned",
        ),
        (
            rb"(<\?xml[^>]*>|<!--((?!-->).)*-->|<!doctype svg[^>]*>|\s)*<svg",
            "an SVG drawing, which is not read",
            _CONVERT,
        ),
        (
            rb"(<\?xml[^>]*>\s*)?<(!doctype html|html|head|body|script|!--)",
            "a web page in place of the image",
            "download the image itself",
        ),
        (rb"\0{512}", "a file of zeros, as a failed copy leaves it", "copy or download it again"),
    )
]


def not_an_image(content: bytes) -> str:
    """What a file is that this program does not read as an image, and what to do; "" where its first bytes do not tell."""
    if not content:
        return "empty file; copy or download it again"
    start = content[:HEAD]
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((said for pattern, said in _KINDS if pattern.match(start) or pattern.match(text)), "")


# What is found under the name of a data file that is none, by its first bytes.
_MISTAKEN = tuple(
    (re.compile(start, re.IGNORECASE), what)
    for start, what in (
        (
            rb"<(!doctype|html|head|body|script|\?xml|!--)",
            "a web page in place of the file; download it again in a browser",
        ),
        (
            rb"version https://git-lfs\.github\.com/spec/",
            "a Git LFS pointer in place of the file; run `git lfs pull` where it was cloned, or get the file itself",
        ),
        (
            rb"(\.\./)*(\.git|/annex)/\S*(annex|objects)/",
            "a git-annex pointer in place of the file; run `git annex get` where it was cloned",
        ),
        (rb"\{\s*\"(\w+)\"\s*:", "a server's JSON answer in place of the file; download it again in a browser"),
        (rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ", "a compressed file; unpack it"),
        (rb"Rar!\x1a|7z\xbc\xaf|\x28\xb5\x2f\xfd", "a RAR, 7-Zip or Zstandard archive, which is not read; unpack it"),
        (rb"%PDF-|\{\\rtf|\xd0\xcf\x11\xe0", "a PDF, RTF or Office document; save it as plain text"),
    )
)


def not_a_data_file(content: bytes) -> str:
    """What a file is, and what to do, where its first bytes say that it is not the data file its name promises; else ""."""
    start = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for pattern, what in _MISTAKEN if pattern.match(start)), "")
