"""BatchLBFGS against torch's own, and its rows against each other."""

import pytest
import scipy.optimize
import torch

from d2lstyle.engine.lbfgs import OCTAVES, BatchLBFGS, Spectrum


def stretched(curvatures, seed=0):
    """A convex quadratic, 1/2 (z - t)^T H (z - t) a row, whose Hessian has these eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    n = len(curvatures)
    axes, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    hessian = axes @ torch.diag(curvatures) @ axes.T
    target = torch.randn(n, dtype=torch.float64, generator=generator)
    return lambda z: ((z - target) @ hessian * (z - target)).sum(1) / 2


def valley(z):
    """Rosenbrock's curved valley, along a chain of variables."""
    return ((1 - z[:, :-1]) ** 2 + 5 * (z[:, 1:] - z[:, :-1] ** 2) ** 2).sum(1)


def start(rows, n, seed=1):
    return torch.randn(rows, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def iterates(function, z, steps, make_optimizer):
    z = z.clone().requires_grad_()
    optimizer = make_optimizer(z)

    def closure():
        (z.grad,) = torch.autograd.grad(function(z).sum(), z)
        return function(z).sum()

    path = []
    for _ in range(steps):
        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        path.append(z.detach().clone())
    return path


def torch_lbfgs(z):
    return torch.optim.LBFGS([z], lr=1, max_iter=1, history_size=10, tolerance_grad=0, tolerance_change=0)


LOGSPACED = torch.logspace(0, 2, 12, dtype=torch.float64)


# torch's first step is gradient / sum |gradient|: a mean absolute change of 1 / n.
@pytest.mark.parametrize("function, n, steps", [(stretched(LOGSPACED), 12, 25), (valley, 6, 25)])
def test_same_path_as_torch(function, n, steps):
    z = start(1, n)
    ours = iterates(function, z, steps, lambda z: BatchLBFGS(z, history=10, first_step=1 / n))
    theirs = iterates(function, z, steps, torch_lbfgs)
    for step, (a, b) in enumerate(zip(ours, theirs), start=1):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=lambda text: f"step {step}: {text}")
    assert function(theirs[-1]) < 1e-2 * function(z)  # the path leads somewhere


@pytest.mark.parametrize("first_step", [0.03, 0.2])
def test_first_step_is_the_mean_change_asked_for(first_step):
    z = start(3, 12)
    (moved,) = iterates(stretched(LOGSPACED), z, 1, lambda z: BatchLBFGS(z, first_step=first_step))
    torch.testing.assert_close((moved - z).abs().mean(1), torch.full((3,), first_step, dtype=z.dtype))


@pytest.mark.parametrize("function", [stretched(LOGSPACED), valley])
def test_a_batch_moves_as_its_rows_alone(function):
    n = 6 if function is valley else 12
    z = torch.cat([start(2, n), start(1, n, seed=2) * 3])
    together = iterates(function, z, 15, BatchLBFGS)
    alone = [iterates(function, row, 15, BatchLBFGS) for row in z.split(1)]
    for step in range(15):
        torch.testing.assert_close(together[step], torch.cat([path[step] for path in alone]), rtol=1e-9, atol=1e-10)


def test_a_row_without_gradient_stays_while_another_moves():
    function, z = stretched(torch.ones(4, dtype=torch.float64)), start(2, 4)
    path = iterates(lambda z: function(z) * torch.tensor([0.0, 1.0]), z, 5, BatchLBFGS)
    assert torch.equal(path[-1][0], z[0]) and function(path[-1])[1] < 1e-6 * function(z)[1]


def test_the_longest_step_tames_a_slope_that_flattens():
    """Newton's method on sqrt(1 + z^2) flies off from any |z| > 1: there the step is z + z^3."""
    function, z = lambda z: (1 + z**2).sqrt().sum(1), torch.full((1, 3), 4.0, dtype=torch.float64)
    wild, tame = (
        iterates(function, z, 20, lambda z, longest=longest: BatchLBFGS(z, first_step=0.1, longest=longest))
        for longest in (torch.inf, 0.5)
    )
    assert max(abs(at).max() for at in wild) > 20
    changes = [(after - before).abs().mean() for before, after in zip([z, *tame], tame)]
    assert max(changes) < 0.5 + 1e-12 and abs(tame[-1]).max() < 1e-3


def test_negative_curvature_is_passed_over():
    path = iterates(lambda z: -(z**2).sum(1) / 2, torch.full((1, 3), 0.5, dtype=torch.float64), 4, BatchLBFGS)
    for before, after in zip(path, path[1:]):  # no usable pair: every step is a first step, downhill
        torch.testing.assert_close((after - before).mean(), torch.tensor(0.03, dtype=torch.float64))


def test_any_shape_after_the_first_axis():
    function = stretched(LOGSPACED)
    flat = iterates(function, start(2, 12), 5, BatchLBFGS)[-1]
    folded = iterates(lambda z: function(z.flatten(1)), start(2, 12).view(2, 3, 2, 2), 5, BatchLBFGS)[-1]
    torch.testing.assert_close(folded.flatten(1), flat, rtol=1e-10, atol=1e-12)


# bounds


def test_a_coupled_problem_against_scipy():
    generator = torch.Generator().manual_seed(0)
    root, target = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((12, 12), (12,)))
    hessian = root @ root.T + torch.eye(12, dtype=torch.float64)

    def function(z):
        return ((z - target) @ hessian * (z - target)).sum(1) / 2

    z = torch.full((1, 12), 0.5, dtype=torch.float64)
    path = iterates(function, z, 100, lambda z: BatchLBFGS(z, bounds=(0, 1)))
    assert all(((point >= 0) & (point <= 1)).all() for point in path)
    oracle = scipy.optimize.minimize(
        lambda x: function(torch.from_numpy(x)[None]).item(),
        z[0].numpy(),
        method="L-BFGS-B",
        bounds=[(0, 1)] * 12,
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    assert (oracle.x == 0).any() or (oracle.x == 1).any()  # bounds matter here
    assert min(function(point).item() for point in path) == pytest.approx(oracle.fun, rel=1e-3)


def test_what_lies_at_a_bound_comes_back_when_its_gradient_turns():
    z = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    path = iterates(lambda z: ((z - 0.5) ** 2).sum(1), z, 5, lambda z: BatchLBFGS(z, bounds=(0, 1)))
    torch.testing.assert_close(path[-1], torch.full_like(z, 0.5), rtol=0, atol=1e-9)


# pictures, whose curvature depends on the spatial frequency


def octave_of(shape):
    """Of each coefficient of rfft2, counted one by one: 0 below 1/256 cycles a pixel, 8 from 1/2 on."""
    rows, columns = torch.fft.fftfreq(shape[0]).tolist(), torch.fft.rfftfreq(shape[1]).tolist()
    edges = [2**-k for k in range(OCTAVES - 1, 0, -1)]
    return torch.tensor([[sum((r * r + c * c) ** 0.5 >= edge for edge in edges) for c in columns] for r in rows])


CURVATURES = torch.tensor([3.0, 3.0, 3.0, 6.0, 2.0, 8.0, 1.5, 5.0, 9.0])  # of the octaves, in no order


def curved(z):
    """The gradient of a quadratic whose Hessian is a filter with these curvatures."""
    spectrum = torch.fft.rfft2(z) * CURVATURES.to(z)[octave_of(z.shape[2:])]
    return torch.fft.irfft2(spectrum, s=z.shape[2:])


def pictures(n, *size, seed=0):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


ALL = torch.ones(1, 1, 1, 1, dtype=torch.bool)


def test_the_gains_of_a_spectrum_are_one_over_the_curvature_at_another_size_too():
    spectrum = Spectrum()
    for seed in range(12):
        dz = 10.0**seed * pictures(1, 40, 64, seed=seed)  # however long the step
        spectrum.learn(dz, curved(dz), ALL)
    change = pictures(1, 56, 50, seed=99)
    undone = spectrum(curved(change))
    # In white noise broad octaves have so little power that they are not believed: from 1/16 cycles a pixel on.
    fine = octave_of(change.shape[2:]) > 4
    ratio = (torch.fft.rfft2(undone) / torch.fft.rfft2(change)).abs()[..., fine]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=0.05, atol=0)


def test_a_spectrum_that_knows_nothing_falls_with_the_root_of_the_frequency():
    change, size = pictures(1, 64, 64), (64, 64)
    gains = (torch.fft.rfft2(Spectrum()(change)) / torch.fft.rfft2(change)).abs()[0, 0]
    octave = octave_of(size)
    by_octave = [gains[octave == o].mean().item() for o in range(3, OCTAVES)]
    assert [a / b for a, b in zip(by_octave, by_octave[1:])] == pytest.approx([2**0.5] * (OCTAVES - 4), rel=1e-4)


def test_pictures_of_a_batch_have_spectra_of_their_own():
    dz, change = pictures(2, 32, 48), pictures(2, 32, 48, seed=1)
    dg = torch.cat([curved(dz[:1]), dz[1:]])
    together, alone, without = Spectrum(), [Spectrum(), Spectrum()], Spectrum()
    together.learn(dz, dg, ALL.expand(2, -1, -1, -1))
    without.learn(dz, dg, torch.tensor([True, False]).view(2, 1, 1, 1))
    for i in (0, 1):
        alone[i].learn(dz[i : i + 1], dg[i : i + 1], ALL)
    torch.testing.assert_close(together(change), torch.cat([alone[i](change[i : i + 1]) for i in (0, 1)]))
    expected = torch.cat([alone[0](change[:1]), Spectrum()(change[1:])])
    torch.testing.assert_close(without(change), expected)


def test_a_spectrum_saves_steps():
    """Where the Hessian is a filter, a dozen steps leave a tenth of what they leave without it."""
    z, target = pictures(1, 32, 48), pictures(1, 32, 48, seed=1)

    def loss(z):
        return ((z - target) * curved(z - target)).sum(dim=(1, 2, 3)) / 2

    with_it, without = (
        loss(iterates(loss, z, 12, lambda z, spectrum=spectrum: BatchLBFGS(z, spectrum=spectrum))[-1]).item()
        for spectrum in (Spectrum(), None)
    )
    assert with_it < 0.1 * without < 0.01 * loss(z).item()
