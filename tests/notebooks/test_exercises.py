"""Exercise sheets: the blank ones come from the solved ones, and their checks refuse what is wrong or not yet written.

`CHEATS` are answers that are wrong, and what their refusal says: constants, ignored arguments, calls that the text
forbids, half-right answers. That the solved answers pass is what nbval tests.
"""

import contextlib
import functools
import inspect
import re

import matplotlib.pyplot as plt
import nbformat
import pytest

from tools.site import exercises, pages

SOLVED = sorted(exercises.SOLUTIONS.glob("*.ipynb"))
TITLE = re.compile(r"## (\d+)\. (.+) (★{1,3})\n")


def sheet_of(path):
    return nbformat.read(path, as_version=4)


def tagged(tag, cells):
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def checks(sheet):
    return tagged("check", sheet.cells)


def sections(sheet):
    """The cells of each exercise, and of the open task at the end; each list begins with a title."""
    begins = [i for i, cell in enumerate(sheet.cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    return [sheet.cells[begin:end] for begin, end in zip(begins, [*begins[1:], len(sheet.cells)])]


def solution(stub):
    """The lines that a student is to write."""
    return [line.strip() for part in exercises.SOLUTION.finditer(stub.source) for line in part[0].splitlines()[1:-1]]


def test_there_are_twenty_to_thirty_in_every_chapter():
    counts = {path.stem: len(checks(sheet_of(path))) for path in SOLVED}
    chapters = {
        path.stem
        for path in exercises.SOLUTIONS.parent.glob("[0-9]*.ipynb")
        if "## Exercises" in path.read_text("utf-8")
    }
    assert (
        counts.keys() == chapters
        and all(3 <= count <= 5 for count in counts.values())
        and 20 <= sum(counts.values()) <= 30
    )


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_the_blank_sheet_is_the_solved_one_without_its_solutions(path):
    blank = sheet_of(exercises.BLANKS / path.name)
    assert blank == exercises.blank(sheet_of(path)), "run python -m tools.site.exercises"
    text = nbformat.writes(blank)
    assert "SOLUTION" not in text and text.count("raise NotImplementedError") >= len(checks(blank))


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_each_exercise_has_a_text_hints_a_stub_a_check_and_an_answer(path):
    *found, _open = sections(sheet_of(path))
    assert [int(TITLE.match(cells[0].source)[1]) for cells in found] == list(range(1, len(checks(sheet_of(path))) + 1))
    assert len({TITLE.match(cells[0].source)[3] for cells in found}) >= 2, "exercises of one level only"
    for text, *_, check, answer in found:
        assert 1 <= text.source.count("<summary>Hint") <= 3
        assert tagged("check", [check]) and tagged("solution", [answer]) and answer.cell_type == "markdown"
        assert "with fresh() as rng" in check.source
        assert check.outputs[-1].text.endswith("correct\n")  # as it was run last


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_no_hint_is_a_line_of_the_answer(path):
    for text, *_, stub, _check, _answer in sections(sheet_of(path))[:-1]:
        answers = [line.removeprefix("return ") for line in solution(stub) if not line.endswith(":")]
        hints = text.source.partition("<details>")[2]
        assert answers and [line for line in answers if len(line) > 12 and line in hints] == []


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_a_sheet_ends_with_an_open_task_whose_rubric_gives_ten_points(path):
    task, outline = sections(sheet_of(path))[-1]
    assert task.source.startswith("## Open task: ") and "★★★" in task.source.splitlines()[0]
    assert sum(map(int, re.findall(r"^\| (\d+) \|", task.source, re.MULTILINE))) == 10
    assert tagged("solution", [outline])


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_the_chapter_lists_its_exercises(path):
    chapter = sheet_of(exercises.SOLUTIONS.parent / path.name)
    (listed,) = [cell.source for cell in chapter.cells if cell.source.startswith("## Exercises")]
    *titles, task = [cells[0].source.splitlines()[0].removeprefix("## ") for cells in sections(sheet_of(path))]
    assert re.findall(r"^\d+\. .+|^Open task: .+", listed, re.MULTILINE) == [*titles, task]


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_the_pages_can_show_each_formula(path):
    prose = [pages.to_html(cell.source) for cell in sheet_of(path).cells if cell.cell_type == "markdown"]
    assert len(prose) > 6 and [text for text in prose if "math-core-error" in text] == []


def test_explanations_of_the_answers_stay_out_of_the_blank_sheet():
    cells = [
        nbformat.v4.new_markdown_cell("Write it."),
        nbformat.v4.new_markdown_cell("Because.", metadata={"tags": ["solution"]}),
    ]
    assert [cell.source for cell in exercises.blank(nbformat.v4.new_notebook(cells=cells)).cells] == ["Write it."]


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_a_blank_sheet_fails_every_check_with_a_sentence(path, monkeypatch, capsys):
    monkeypatch.chdir(exercises.BLANKS)
    names = {"display": print}
    for cell in (cell for cell in sheet_of(exercises.BLANKS / path.name).cells if cell.cell_type == "code"):
        is_check = "check" in cell.metadata.get("tags", [])
        with pytest.raises(NotImplementedError, match="write this") if is_check else contextlib.nullcontext():
            exec(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE), names)  # in a kernel it takes ten times as long
    assert "correct" not in capsys.readouterr().out
    plt.close("all")


RIGHT_SHUFFLE = """
def shuffle_positions(image, generator):
    return image.flatten(2)[..., torch.randperm(image[0, 0].numel(), generator=generator)].view(image.shape)

"""
RIGHT_MIXTURES = """
by_grams = lambda F1, F2, p: p * ds.gram(F1) + (1 - p) * ds.gram(F2)
by_features = lambda F1, F2, p: ds.gram(p * F1 + (1 - p) * F2)
"""
CHEATS = {
    "01": [
        (1, "flip_arrows = lambda x, y, f: (augment.horizontal_flip(x, f), torch.where(f, 1, y))", "1 becomes 0"),
        (1, "flip_arrows = lambda x, y, f: (augment.horizontal_flip(x, f), y)", "labels of the arrows they were"),
        (1, "flip_arrows = lambda x, y, f: (x.flip(-1), 1 - y)", "was not to be mirrored"),
        (1, "flip_arrows = lambda x, y, f: (augment.horizontal_flip(x, f), 1 - y)", "keeps its label"),
        (2, "mean_part = lambda smallest, n=9: 0.45", "use `smallest`"),
        (2, "mean_part = lambda smallest, n=9: (1 + smallest) / 2", "drawn again"),
        (2, "mean_part = lambda smallest, n=9: smallest", "about"),
        (3, "mix_up = lambda x, y, part: [0.7 * z + 0.3 * z.roll(-1, 0) for z in (x, y)]", "image 0 is to be"),
        (3, "mix_up = lambda x, y, part: [part * z + (1 - part) * z.roll(1, 0) for z in (x, y)]", "image 0 is to be"),
        (3, "mix_up = lambda x, y, part: (part * x + (1 - part) * x.roll(-1, 0), y)", r"label \d: expected"),
        (
            3,
            """
            def mix_up(x, y, part):
                first = part * x[:1] + (1 - part) * x[1:2]
                return torch.cat([first, x[1:]]), part * y + (1 - part) * y.roll(-1, 0)
            """,
            "image 1 is to be",
        ),
        (4, "finding = lambda rows, arm, place: 'gain'", "expected 'open', got 'gain'"),
        (
            4,
            """
            def finding(rows, arm, place):
                from d2lstyle.results import gains_over
                shared = {r["seed"] for r in rows if r["arm"] == "none"}
                gains = gains_over([r for r in rows if r["seed"] in shared], "arm", place, "none")
                return "gain" if gains[arm].low > 0 else "loss" if gains[arm].high < 0 else "open"
            """,
            "by hand",
        ),
        (
            4,
            """
            def finding(rows, arm, place):
                runs = {name: {r["seed"]: r[place] for r in rows if r["arm"] == name} for name in (arm, "none")}
                pairs = [[runs[name][seed] for seed in runs["none"]] for name in (arm, "none")]
                low, high = stats.ttest_rel(*pairs).confidence_interval(0.95)
                return "gain" if low > 0 else "loss" if high < 0 else "open"
            """,
            "by hand",
        ),
        (
            4,  # the normal distribution in place of Student's
            """
            def finding(rows, arm, place):
                runs = {name: {r["seed"]: r[place] for r in rows if r["arm"] == name} for name in (arm, "none")}
                d = np.array([runs[arm][s] - runs["none"][s] for s in runs["none"]])
                t = d.mean() / d.std(ddof=1) * len(d) ** 0.5
                return "gain" if t > 1.96 else "loss" if t < -1.96 else "open"
            """,
            "expected 'open', got 'gain'",
        ),
        (
            4,  # pairing thrown away
            """
            def finding(rows, arm, place):
                a, b = ([r[place] for r in rows if r["arm"] == name] for name in (arm, "none"))
                t = (np.mean(a) - np.mean(b)) / (np.var(a, ddof=1) / len(a) + np.var(b, ddof=1) / len(b)) ** 0.5
                return "gain" if t > 3 else "loss" if t < -3 else "open"
            """,
            "expected 'gain', got 'open'",
        ),
    ],
    "02": [
        (1, "head_with = lambda net, name, k, n: ds.replace_head(net, n, seed=0, reuse_rows={k: name})", "locked"),
        (
            1,
            """
            from d2lstyle.finetune import replace_head as another_name
            head_with = lambda net, name, place, n: another_name(net, n, reuse_rows={place: name})
            """,
            "locked",
        ),
        (1, "head_with = lambda net, name, k, n: ds.replace_head(net, n, seed=0)", "is not ImageNet's row"),
        (
            1,
            """
            def head_with(net, name, place, n):
                model = ds.replace_head(net, n, seed=0)
                with torch.no_grad():
                    model.model.classifier.weight[place] = net.model.classifier.weight[net.classes.index(name)]
                return model
            """,
            "the bias was forgotten",
        ),
        (2, "moved = lambda model, images: []", "nothing moved"),
        (2, "moved = lambda model, images: [n for n in model.state_dict() if 'weight' in n]", "no weight moves"),
        (2, "moved = lambda model, images: [n for n in model.state_dict() if 'running' in n]", "expected"),
        (
            2,
            "moved = lambda model, images: [n for n, _ in model.named_buffers() if n not in ('mean', 'std')]",
            "by names",
        ),
        (3, "shuffled = lambda labels, generator: labels.flip(0)", "same order twice"),
        (
            3,
            "shuffled = lambda labels, dice: labels[torch.randint(len(labels), labels.shape, generator=dice)]",
            "lost or doubled",
        ),
        (
            3,
            "shuffled = lambda labels, dice: labels.roll(torch.randint(1, len(labels), (1,), generator=dice).item())",
            "not a shuffle|same order twice",
        ),
        (
            3,
            """
            def shuffled(labels, generator):
                first, second = labels.chunk(2)
                return torch.cat([first, second[torch.randperm(len(second), generator=generator)]])
            """,
            "stay where they were",
        ),
        (4, "honest_gain = lambda rows: 0.1", "expected"),
        (
            4,  # the best mean, on the seeds that chose it
            """
            def honest_gain(rows):
                of = lambda until: [r["accuracy"] for r in rows if r["until"] == until]
                means = {until: np.mean(of(until)) for until in {r["until"] for r in rows}}
                return max(means.values()) - means[9]
            """,
            "on the seeds that chose it",
        ),
        (
            4,  # the best depth of each seed on that seed
            """
            def honest_gain(rows):
                of = lambda s: {r["until"]: r["accuracy"] for r in rows if r["seed"] == s}
                return np.mean([max(of(s).values()) - of(s)[9] for s in {r["seed"] for r in rows}])
            """,
            "expected",
        ),
    ],
    "03": [
        (1, "beta_of_the_paper = lambda beta, N: beta * 4 / 64", "times the lecture's"),
        (1, "beta_of_the_paper = lambda beta, N: beta * 4 / N", "times the lecture's"),
        (
            1,
            """
            def beta_of_the_paper(beta, N):
                from d2lstyle.losses import style_layer_loss as loss
                G, A = torch.rand(2, 1, N, N)
                return (beta * loss(G, A, 9, "d2l") / loss(G, A, 9, "gatys")).item()
            """,
            "locked",
        ),
        (2, "shuffle_positions = lambda image, generator: image.flip(2)", "same order twice"),
        (
            2,
            """
            def shuffle_positions(image, generator, calls=[]):
                calls.append(1)  # another order at each call, and never the same by luck
                return image.flatten(2).roll(9 + len(calls), 2).view(image.shape)
            """,
            "still have a neighbour",
        ),
        (
            2,
            "shuffle_positions = lambda image, dice: image[:, :, torch.randperm(image.shape[2], generator=dice)]",
            "still have a neighbour",
        ),
        (
            2,
            """
            def shuffle_positions(image, generator):
                return image.flatten()[torch.randperm(image.numel(), generator=generator)].view(image.shape)
            """,
            "not the same pixels",
        ),
        (2, RIGHT_SHUFFLE + "weights_that_see = lambda image: torch.ones_like(image[:, :1])", "look alike"),
        (2, RIGHT_SHUFFLE + "weights_that_see = lambda image: torch.tensor([[0.0, 1.0]])", "expected weights"),
        (3, "tv_of_checkerboard = lambda height, width: 2 * height * (height - 1)", "pairs of neighbours"),
        (3, "tv_of_checkerboard = lambda height, width: 2 * height * width", "pairs of neighbours"),
        (
            3,
            """
            def tv_of_checkerboard(height, width):
                board = (torch.arange(height)[:, None] + torch.arange(width)) % 2
                return ds.total_variation(board[None, None].float()).item()
            """,
            "locked",
        ),
        (4, "collect = collect_with_a_bug", "overwritten"),
        (
            4,
            """
            def collect(layers, x):
                for layer in layers:
                    layer.inplace = False
                return collect_with_a_bug(layers, x)
            """,
            "not yours to change",
        ),
        (
            4,
            """
            def collect(layers, x):
                found = []
                for layer in layers:
                    x = layer(x)
                    found.append((type(layer).__name__, x.clone()))
                return found
            """,
            "handed over was overwritten",
        ),
    ],
    "04": [
        (
            1,
            "place_of = lambda net, photo, target, window, stride: (0.8, 0.7)",
            "place of another class|looks at|against",
        ),
        (
            1,
            """
            def place_of(net, photo, target, window, stride):
                row, column = (photo[0, 0] == photo[0, 0].max()).nonzero()[0].tolist()
                return row / photo.shape[2], column / photo.shape[3]
            """,
            "place of another class|looks at|against",
        ),
        (
            1,
            """
            def place_of(net, photo, target, window, stride):
                map = ds.occlusion(net, photo, 0, window=window, stride=stride)
                place = (map == map.max()).nonzero().double().mean(0)[2:]
                return (place / torch.tensor(map.shape[2:])).tolist()
            """,
            "ask for `target`|against the class",
        ),
        (
            1,
            """
            def place_of(net, photo, target, window, stride):
                map = ds.saliency(net, photo, target)
                place = (map == map.max()).nonzero().double().mean(0)[2:]
                return (place / torch.tensor(map.shape[2:])).tolist()
            """,
            "against the class",
        ),
        (1, "place_of = lambda net, photo, target, window, stride: (50.0, 60.0)", "parts between 0 and 1"),
        (2, "right_part = lambda style, seam: torch.ones_like(style[:, :1])", "the left texture"),
        (
            2,
            """
            def right_part(style, seam):
                mask = torch.zeros_like(style[:, :1])
                mask[..., style.shape[3] // 2 :] = 1
                return mask
            """,
            "texture",
        ),
        (2, "right_part = lambda style, seam: torch.ones(style.shape[2:])", "expected a mask"),
        (3, "repair = Small", "no ReLU module"),
        (
            3,
            """
            def repair():
                network = Small()
                network.relu = torch.nn.ReLU()
                return network
            """,
            "is the function still in use",
        ),
        (
            3,
            """
            class Other(Small):
                def __init__(self):
                    super().__init__()
                    self.relu = torch.nn.ReLU()

                def forward(self, x):
                    return self.head(self.relu(self.conv(x).mean(dim=(2, 3))))

            repair = Other
            """,
            "scores have changed",
        ),
    ],
    "05": [
        (
            1,
            RIGHT_MIXTURES + "gap = lambda F1, F2, p: by_grams(F1, F2, p) - by_features(F1, F2, p)",
            "lost in rounding",
        ),
        (1, RIGHT_MIXTURES + "gap = lambda F1, F2, p: 0.21 * ds.gram(F1 - F2)", "not the gap"),
        (1, RIGHT_MIXTURES + "gap = lambda F1, F2, p: p * ds.gram(F1 - F2)", "not the gap"),
        (1, RIGHT_MIXTURES + "by_features = by_grams\ngap = lambda F1, F2, p: 0", "Gram of the mixed features"),
        (
            2,
            """
            def gap_of_many(features, weights):
                each = list(zip(weights, features))
                return sum(w * ds.gram(F) for w, F in each) - ds.gram(sum(w * F for w, F in each))
            """,
            "sum over pairs",
        ),
        (
            2,
            "gap_of_many = lambda F, w: sum(a * b * ds.gram(f - g) for a, f in zip(w, F) for b, g in zip(w, F))",
            "2.00 times",
        ),
        (
            2,
            "gap_of_many = lambda F, w: sum(ds.gram(f - g) for f, g in combinations(F, 2)) / len(F) ** 2",
            "times the gap",
        ),
        (3, "near_the_centre = lambda paintings, share: 2", "smaller one does|still more"),
        (3, "near_the_centre = lambda paintings, share: 16", "smaller one does"),
        (3, "near_the_centre = lambda paintings, share: 3", "a power of two"),
        (
            3,
            """
            def near_the_centre(paintings, share):
                strongest = lambda a: np.random.default_rng(0).dirichlet(np.full(12, a), size=2000).max(1).mean()
                return next((a for a in 2.0 ** np.arange(-3, 5) if strongest(a) < 0.25), 16)
            """,
            "smaller one does|still more",
        ),
    ],
    "06": [
        (1, "interval = lambda first, second: intervals.two_way_t(first - second)[:3]", "by hand"),
        (
            1,
            "from d2lstyle.experiment.intervals import two_way_t as ready\ninterval = lambda a, b: ready(a - b)[:3]",
            "by hand",
        ),
        (1, "interval = lambda a, b: (0, *stats.ttest_1samp((a - b).mean(1), 0).confidence_interval(0.95))", "by hand"),
        (1, "interval = lambda first, second: (0.0301, 0.01, 0.05)", "expected the mean difference"),
        (
            1,
            """
            def interval(first, second):
                means = (first - second).mean(1)
                reach = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5
                return means.mean(), means.mean() - reach, means.mean() + reach
            """,
            "seeds alone",
        ),
        (
            1,
            """
            def interval(first, second):
                d = first - second
                reach = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / d.size**0.5
                return d.mean(), d.mean() - reach, d.mean() + reach
            """,
            "to each side",
        ),
        (2, "lucky = lambda p_values, level: (0.1405, 0.05)", "without correction"),
        (2, "lucky = lambda p_values, level: (1 - (1 - level) ** p_values.shape[1], level)", "without correction"),
        (2, "lucky = lambda p_values, level: ((p_values.min(1) <= level).mean(),) * 2", "after Holm"),
        (3, "same_answers = lambda record, a, b: b == 'B'", "alike|nothing to compare"),
        (3, "same_answers = lambda record, a, b: True", "nothing to compare"),
        (
            3,
            """
            def same_answers(record, first, second):
                count = lambda right: sum(bin(int(text, 16)).count("1") for text in right.values())
                run = lambda row: (row["per_class"], row["seed"])
                of = lambda arm: {run(row): count(row["right"]) for row in record["rows"] if row["arm"] == arm}
                a, b = of(first), of(second)
                return bool(a.keys() & b.keys()) and all(a[run] == b[run] for run in a.keys() & b.keys())
            """,
            "though as many are right",
        ),
        (
            3,
            """
            def same_answers(record, first, second):
                run = lambda row: (row["per_class"], row["seed"])
                of = lambda arm: {run(row): row["right"] for row in record["rows"] if row["arm"] == arm}
                return of(first) == of(second)
            """,
            "only runs that both arms have",
        ),
    ],
    "07": [
        (1, "value_of_the_game = lambda p, q, step: -np.log(4)", "is q used"),
        (
            1,
            "value_of_the_game = lambda p, q, step: (p * (p / (p + q)).log() + q * (q / (p + q)).log()).sum()",
            "leaves the value -log 4",
        ),
        (1, "value_of_the_game = lambda p, q, step: 2 * step * (p * (p / (p + q)).log()).sum()", "2 JS - log 4"),
        (2, "slopes = lambda score: (0.0, -1.0)", "slope of"),
        (2, "slopes = lambda score: (-1 / (1 + np.exp(-score)), 1 / (1 + np.exp(score)))", "slope of -log D"),
        (3, "nearer = lambda samples, known, others: 0.5", "the share is 1"),
        (
            3,
            """
            def nearer(samples, known, others):
                mean = lambda to: torch.cdist(samples.flatten(1), to.flatten(1)).mean(1)
                return (mean(known) < mean(others)).double().mean().item()
            """,
            "copies|copy",
        ),
        (
            3,
            """
            def nearer(samples, known, others):
                near = lambda to: torch.cdist(samples.flatten(1), to.flatten(1)).min(1).values
                return (near(known) < 0.5).double().mean().item()
            """,
            "strangers are nearer|copies|copy",
        ),
        (4, "mean_distance = lambda points: 1.26", "pairs of a heap"),
        (4, "mean_distance = lambda points: torch.pdist(points[:1000]).mean().item()", "apart on average"),
        (
            4,
            "mean_distance = lambda points: (points[::2] - points[1::2]).norm(dim=1).mean().item()",
            "apart on average",
        ),
    ],
    "08": [
        (1, "loss = lambda predictions, labels: ((predictions - labels) ** 2).mean()", "compared with all"),
        (
            1,
            "loss = lambda predictions, labels: ((predictions[:, 0] - labels) ** 2).sum()",
            "the mean squared error is",
        ),
        (1, "loss = lambda predictions, labels: ((predictions.detach()[:, 0] - labels) ** 2).mean()", "no gradient"),
        (1, "loss = lambda predictions, labels: torch.tensor(0.0)", "the mean squared error is"),
        (
            2,
            """
            def split(photo_of, part, rng):
                order = rng.permutation(len(photo_of))
                n_test = round(part * len(photo_of))
                return order[n_test:], order[:n_test]
            """,
            "copies on both sides",
        ),
        (
            2,
            """
            def split(photo_of, part, rng):
                photos = np.unique(photo_of)
                is_test = np.isin(photo_of, photos[: round(part * len(photos))])
                return np.flatnonzero(~is_test), np.flatnonzero(is_test)
            """,
            "whatever the generator draws",
        ),
        (
            2,
            """
            def split(photo_of, part, rng):
                photos = rng.permutation(np.unique(photo_of))
                n_test = round(part * len(photos))
                return photos[n_test:], photos[:n_test]
            """,
            "give places, not photos",
        ),
        (
            2,  # part ignored
            """
            def split(photo_of, part, rng):
                photos = rng.permutation(np.unique(photo_of))
                is_test = np.isin(photo_of, photos[: len(photos) // 10])
                return np.flatnonzero(~is_test), np.flatnonzero(is_test)
            """,
            "belong to the test side",
        ),
        (3, "descend = descend_with_a_bug", "where the first step left it"),
        (
            3,
            """
            def descend(start, loss, steps, lr):
                image = start.clone().requires_grad_()
                for _ in range(steps):
                    (slope,) = torch.autograd.grad(loss(image), image)
                    image = (image - lr * slope).detach().requires_grad_()
                return image.detach().clamp(0, 1)
            """,
            "only at the end",
        ),
        (
            3,
            """
            def descend(start, loss, steps, lr):
                start.requires_grad_()
                for _ in range(steps):
                    (slope,) = torch.autograd.grad(loss(start), start)
                    with torch.no_grad():
                        start.sub_(lr * slope).clamp_(0, 1)
                return start.detach()
            """,
            "work on a copy",
        ),
        (3, "descend = lambda start, loss, steps, lr: start.clone()", "away from where"),
    ],
}
NOT_NEEDED = {("02", 3)}  # its preparation takes seconds, and serves what comes after the refusal


@functools.cache
def prepared(stem):
    """The names after the first code cell of a sheet."""
    names = {"display": print}
    exec(
        next(cell.source for cell in sheet_of(exercises.SOLUTIONS / f"{stem}.ipynb").cells if cell.cell_type == "code"),
        names,
    )
    return names


@pytest.mark.parametrize(
    "path, number, cheat, words",
    [(path, *cheat) for path in SOLVED for cheat in CHEATS[path.stem[:2]]],
    ids=[f"{path.stem[:2]}-{cheat[0]}-{i}" for path in SOLVED for i, cheat in enumerate(CHEATS[path.stem[:2]])],
)
def test_a_cheat_is_refused_with_the_right_sentence(path, number, cheat, words, monkeypatch):
    monkeypatch.chdir(exercises.SOLUTIONS)
    names = dict(prepared(path.stem))
    _text, *preparation, _stub, check, _answer = sections(sheet_of(path))[number - 1]
    for cell in preparation if (path.stem[:2], number) not in NOT_NEEDED else []:
        exec(cell.source, names)
    exec(inspect.cleandoc(cheat), names)
    with pytest.raises(AssertionError, match=words) as refusal:
        exec(check.source, names)
    assert "draws the same again" in refusal.value.__notes__[0]


def test_every_exercise_has_a_cheat_that_its_check_refuses():
    tried = {(sheet, number) for sheet, cheats in CHEATS.items() for number, _, _ in cheats}
    assert tried == {(path.stem[:2], n) for path in SOLVED for n in range(1, len(checks(sheet_of(path))) + 1)}
