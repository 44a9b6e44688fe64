"""The whole way: samples in, values with intervals out, and nothing of the new device but its samples is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import Few, Tables
from chipfit.evaluate.latency.committee import Committee
from chipfit.evaluate.latency.few_shot import FewShot, floored
from chipfit.evaluate.latency.gp import GaussianProcess
from chipfit.evaluate.latency.interval import quantile
from chipfit.evaluate.latency.ridge import Ridge, free_mean, left_out
from chipfit.evaluate.latency.samplers import at_random, by_angle, by_cluster
from chipfit.evaluate.latency.surrogate import AdaProxy, BestSource, SurrogateRidge, surrogates

MODELS = [
    Ridge(), SurrogateRidge(), BestSource(), AdaProxy(), GaussianProcess(), GaussianProcess(sources=False),
    Committee((Ridge(), SurrogateRidge())),
]  # fmt: skip


def parted(tables, device):
    """(tables without a device, that device's values)."""
    kept = [n for n in range(len(tables.devices)) if n != device]
    names = tuple(tables.devices[n] for n in kept)
    return Tables(tables.networks, names, tables.values[:, kept]), tables.values[:, device]


def few_of(tables, values, rows):
    return Few(tables.networks.take(rows), values[rows])


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_every_model_ranks_a_device_it_has_seen_twenty_samples_of(made_tables, model):
    sources, truth = parted(made_tables, 5)
    rng = np.random.default_rng(0)
    rows = at_random(sources.networks, 20, rng)
    fitted = model.prepare(sources, rng).fit(few_of(sources, truth, rows), rng)
    least = 0.4 if isinstance(model, BestSource | AdaProxy) else 0.9
    assert spearmanr(fitted.predict(sources.networks), truth).statistic > least
    assert fitted.left_out.shape == (20,)


def test_left_out_is_a_refit_without_the_sample(made_tables):
    sources, truth = parted(made_tables, 5)
    prepared = GaussianProcess().prepare(sources, np.random.default_rng(0))
    rows = np.arange(0, 240, 12)
    whole = prepared.fit(few_of(sources, truth, rows), np.random.default_rng(0))
    for i in (0, 7, 19):
        less = prepared.fit(few_of(sources, truth, np.delete(rows, i)), np.random.default_rng(0))
        assert whole.left_out[i] == pytest.approx(less.predict(sources.networks.take([rows[i]]))[0], abs=1e-9)


def test_closed_form_of_a_ridge_with_a_free_mean():
    rng = np.random.default_rng(0)
    x, y, penalty = rng.normal(size=(12, 5)), rng.normal(size=12), 0.3
    p, _ = free_mean(x @ x.T + penalty * np.eye(12))
    for i in range(12):
        a, b = np.delete(x, i, 0), np.delete(y, i)
        w = np.linalg.solve((c := a - a.mean(0)).T @ c + penalty * np.eye(5), c.T @ (b - b.mean()))
        assert left_out(p, y)[i] == pytest.approx(b.mean() + (x[i] - a.mean(0)) @ w, abs=1e-9)


def test_values_beyond_the_samples_never_reach_the_fit(made_tables):
    sources, truth = parted(made_tables, 5)
    told = []
    for rest in (truth, np.full(len(truth), np.nan)):
        rng = np.random.default_rng(3)
        ready = FewShot((Ridge(),)).prepare(sources, rng)
        rows = ready.choose(sources.networks, 20, rng)
        known = rest.copy()
        known[rows] = truth[rows]
        told.append(ready.fit(few_of(sources, known, rows), rng).predict(sources.networks))
    assert np.array_equal(told[0].values, told[1].values)
    assert np.array_equal(told[0].high, told[1].high)


def test_what_was_measured_of_a_network_elsewhere_is_looked_up(made_tables):
    own = np.random.default_rng(1).lognormal(0, 0.3, (256, 1))  # what no encoding tells of a network, on all devices
    odd = Tables(made_tables.networks, made_tables.devices, made_tables.values * own)
    sources, truth = parted(odd, 5)
    rows = at_random(sources.networks, 20, np.random.default_rng(0))
    few = few_of(sources, truth, rows)
    fitted = FewShot().prepare(sources, np.random.default_rng(0)).fit(few, np.random.default_rng(0))
    told = fitted.predict(sources.networks)
    nameless = replace(sources.networks, names=tuple(f"unknown {name}" for name in sources.networks.names))
    unknown = fitted.predict(nameless)
    assert spearmanr(told.values, truth).statistic > spearmanr(unknown.values, truth).statistic + 0.1
    assert np.median(told.high / told.low) < np.median(unknown.high / unknown.low)
    np.testing.assert_allclose(unknown.values, fitted.outside.predict(nameless).values, rtol=1e-9)
    some = sources.networks.take(rows[:3])  # kernels round by the size of a batch
    np.testing.assert_allclose(fitted.predict(some).values, told.values[rows[:3]], rtol=1e-9)

    few = Few(nameless.take(rows), truth[rows])  # samples that the tables do not know tell nothing of those they do
    strange = FewShot().prepare(sources, np.random.default_rng(0)).fit(few, np.random.default_rng(0))
    assert strange.inside is None


def test_intervals_hold_what_they_say_and_are_positive(made_tables):
    held = []
    for device in range(6):
        sources, truth = parted(made_tables, device)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            ready = FewShot().prepare(sources, rng)
            rows = ready.choose(sources.networks, 20, rng)
            told = ready.fit(few_of(sources, truth, rows), rng).predict(sources.networks)
            assert np.all((told.low > 0) & (told.low < told.values) & (told.values < told.high))
            rest = np.delete(np.arange(256), rows)
            held.append(((told.low <= truth) & (truth <= told.high))[rest].mean())
    assert 0.85 < np.mean(held) < 0.97


def test_intervals_widen_away_from_the_samples(made_tables):
    sources, truth = parted(made_tables, 5)
    rng = np.random.default_rng(0)
    near = np.flatnonzero(made_tables.networks.blocks["counts"][:, 0] >= 1)[:20]
    ready = FewShot().prepare(sources, rng)
    told = ready.fit(few_of(sources, truth, near), rng).predict(sources.networks)
    width = told.high / told.low
    assert width[near].mean() < np.delete(width, near).mean()


def test_five_samples_give_a_wide_interval_and_four_an_error(made_tables):
    sources, truth = parted(made_tables, 5)
    rng = np.random.default_rng(0)
    ready = FewShot().prepare(sources, rng)
    widths = {}
    for n in (5, 20):
        rows = ready.choose(sources.networks, n, np.random.default_rng(1))
        told = ready.fit(few_of(sources, truth, rows), rng).predict(sources.networks)
        widths[n] = np.median(told.high / told.low)
    assert widths[5] > widths[20]
    with pytest.raises(BadInput, match="4 samples are too few; at least 5"):
        ready.fit(few_of(sources, truth, np.arange(4)), rng)


def test_bad_values_get_a_line(made_tables):
    sources, truth = parted(made_tables, 5)
    rng = np.random.default_rng(0)
    ready = FewShot().prepare(sources, rng)
    few = few_of(sources, truth, np.arange(8))
    with pytest.raises(BadInput, match="a sample has no value"):
        ready.fit(Few(few.networks, np.where(np.arange(8) == 3, np.nan, few.values)), rng)
    with pytest.raises(BadInput, match="all samples have the value 2"):
        ready.fit(Few(few.networks, np.full(8, 2.0)), rng)
    with pytest.raises(BadInput, match="a value of -1 cannot be"):
        ready.fit(Few(few.networks, np.where(np.arange(8) == 3, -1.0, few.values)), rng)


def test_missing_tied_and_constant_columns_of_the_sources(made_tables):
    sources, truth = parted(made_tables, 5)
    rng = np.random.default_rng(0)
    values = np.round(sources.values)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 1] = 3.0
    rows = at_random(sources.networks, 20, rng)
    few = Few(sources.networks.take(rows), np.round(truth[rows]) + 1)
    told = FewShot().prepare(Tables(sources.networks, sources.devices, values), rng).fit(few, rng)
    assert spearmanr(told.predict(sources.networks).values, truth).statistic > 0.8


def test_without_any_source(made_tables):
    sources, truth = parted(made_tables, 5)
    rng = np.random.default_rng(0)
    ready = FewShot().prepare(Tables(sources.networks, (), np.zeros((256, 0))), rng)
    rows = ready.choose(sources.networks, 20, rng)
    told = ready.fit(few_of(sources, truth, rows), rng).predict(sources.networks)
    assert spearmanr(told.values, truth).statistic > 0.9


def test_samplers_return_different_networks(made_tables):
    for sampler in (at_random, by_angle, by_cluster):
        assert len(set(sampler(made_tables.networks, 20, np.random.default_rng(0)).tolist())) == 20
    ready = FewShot().prepare(made_tables, np.random.default_rng(0))
    rows = [ready.choose(made_tables.networks, 20, np.random.default_rng(5)).tolist() for _ in range(2)]
    assert rows[0] == rows[1]
    assert len(set(rows[0])) == 20


def test_more_networks_than_there_are(made_tables):
    ready = FewShot().prepare(made_tables, np.random.default_rng(0))
    with pytest.raises(BadInput, match="20 networks cannot be chosen from 5"):
        ready.choose(made_tables.networks.take(range(5)), 20, np.random.default_rng(0))


def test_quantile_is_between_that_of_order_and_that_of_t():
    scores = np.arange(1.0, 21.0)
    assert quantile(scores, 0.9) == pytest.approx(np.sqrt(19 * 1.7291 * np.sqrt((scores**2).mean())), rel=1e-4)
    assert quantile(np.ones(5), 0.9) == pytest.approx(2.1318, rel=1e-4)
    assert quantile(np.array([0.0, 0, 0, 0, 1]), 0.9) == 1


def test_floor():
    assert floored(np.array([0.001, 1.0, 1.0, np.nan])).tolist()[:3] == [0.02, 1.0, 1.0]


def test_a_strongly_penalised_adaproxy_is_the_scaled_proxy(made_tables):
    sources, _ = parted(made_tables, 5)
    alone = Tables(sources.networks, sources.devices[:1], sources.values[:, :1])
    rng = np.random.default_rng(0)
    proxy = surrogates(alone, np.random.default_rng(0))(sources.networks)[:, 0]
    rows = np.arange(0, 250, 25)
    few = Few(sources.networks.take(rows), np.exp(2 * proxy[rows]))
    told = AdaProxy().prepare(alone, np.random.default_rng(0)).fit(few, rng).predict(sources.networks)
    assert spearmanr(told, proxy).statistic > 0.99
