"""BatchLBFGS against torch's own, and its rows against each other."""

import pytest
import scipy.optimize
import torch

from d2lstyle.engine.lbfgs import BatchLBFGS


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
