"""Every figure: functions from frames and arrays to a matplotlib Figure, or to HTML if it shows images.

Nothing here trains, saves or reads a study. `source` is the line at the foot of a figure that names its data.
"""

from lfwstudy.report.figures.curves import learning_curves, overlaid_curves, small_multiples, watched
from lfwstudy.report.figures.data import images_per_person, split_overlap
from lfwstudy.report.figures.faces import augmented, batch, gallery, image_uri, montage
from lfwstudy.report.figures.ladder import accuracy_against_time, ladder
from lfwstudy.report.figures.scores import histograms, roc
from lfwstudy.report.figures.style import MEASURED, PUBLISHED, VALIDATION, WRONG, captioned
