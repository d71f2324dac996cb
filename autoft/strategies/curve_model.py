"""A Gaussian process over learning curves: how good a configuration will be at an epoch, and how sure that is."""

from dataclasses import dataclass

import numpy as np

CONSTANT = 1.0
"""Variance of the level of all curves; values have mean 0 and variance 1."""
COMMON = 0.1
"""Variance of what all curves share over the epochs."""
NOISE = 0.01
"""Variance that nothing explains."""
MEMORY = 15.0
"""Factors of e in epochs over which a curve forgets where it was."""
SLOPE, SLOPE_SPREAD = 1.0, 1.0
"""Mean and standard deviation of how much of the value comes with each unit of what earlier searches let expect."""
SHARED = 0.3
"""Of what the configuration explains, the share that is the same at every epoch."""
ROOT_5 = 5**0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """What trials came to, N values of theirs."""

    rows: np.ndarray
    """Their configurations, encoded."""
    trials: np.ndarray
    """Their numbers; those of points to predict that are no trials are negative."""
    epochs: np.ndarray
    values: np.ndarray
    """The best value up to the epoch, more is better, on a scale with mean 0 and variance 1."""
    expected: np.ndarray
    """What earlier searches let expect of the configurations at the epochs, more is better; 0 where there are none."""

    def take(self, chosen: np.ndarray) -> "Observations":
        """Return some of them."""
        return Observations(
            rows=self.rows[chosen],
            trials=self.trials[chosen],
            epochs=self.epochs[chosen],
            values=self.values[chosen],
            expected=self.expected[chosen],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperparameters:
    """What is learned of the kernel."""

    lengths: np.ndarray
    """How far along each parameter two configurations are alike."""
    configuration: float
    """Variance that the configuration explains."""
    trial: float
    """Variance of a trial beside others of nearly the same configuration; its later epochs inherit it."""


class CurveModel:
    """The process given observations.

    cov((x, i, t), (x', i', t')) = CONSTANT + COMMON k(t, t') + a m(x, x') (SHARED + (1 - SHARED) k(t, t'))
    + b [i = i'] k(t, t'), where m is Matérn 5/2 with a length a parameter, k(t, t') = exp(-|log t - log t'| / MEMORY),
    and a, b and the lengths are the hyperparameters. What earlier searches let expect, e(x, t), is its mean
    times a slope that is itself uncertain: a mean SLOPE e, and SLOPE_SPREAD² e e' more of covariance. So the
    observations say how far it is believed, and the process corrects it where they are near.

    References: the slope is an explicit basis function of Rasmussen & Williams, Gaussian Processes for Machine
    Learning, 2006, section 2.7; the split into what configurations share and what a curve adds is that of Swersky et
    al., Freeze-Thaw Bayesian Optimization, arXiv:1406.3896; the constants are those of the largest likelihood over
    random subsets of LCBench's and TaskSet's curves, one set for both, rounded.
    """

    def __init__(self, observations: Observations, groups_C: np.ndarray, hyperparameters: Hyperparameters) -> None:
        self._seen, self._groups_C, self._hyper = observations, groups_C, hyperparameters
        own = self.options(observations.rows, observations.trials)
        cov_NN = self._cov(own, observations.epochs, observations.expected)
        cov_NN[np.diag_indices(len(cov_NN))] += NOISE
        self._inverse_NN = np.linalg.inv(cov_NN)
        self._weights_N = self._inverse_NN @ (observations.values - SLOPE * observations.expected)

    def options(self, rows_MC: np.ndarray, trials_M: np.ndarray) -> "Options":
        """Return M options, to be asked about at any epochs: their configurations, encoded, and trials' numbers."""
        lengths_C = self._hyper.lengths[self._groups_C]
        alike_MN = matern(squared_distances(rows_MC / lengths_C, self._seen.rows / lengths_C))
        return Options(model=self, alike=alike_MN, own=trials_M[:, None] == self._seen.trials[None])

    def _predict(
        self, options: "Options", epochs_M: np.ndarray, expected_M: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        cov_MN = self._cov(options, epochs_M, expected_M)
        prior_M = CONSTANT + COMMON + self._hyper.configuration + self._hyper.trial + (SLOPE_SPREAD * expected_M) ** 2
        variances_M = prior_M - np.einsum("mn,mn->m", cov_MN @ self._inverse_NN, cov_MN)
        return SLOPE * expected_M + cov_MN @ self._weights_N, np.sqrt(np.maximum(variances_M, 1e-6))

    def _cov(self, options: "Options", epochs_M: np.ndarray, expected_M: np.ndarray) -> np.ndarray:
        """Return the covariance of points with the observations."""
        seen, hyper = self._seen, self._hyper
        near_MN = np.exp(-log_distances(epochs_M, seen.epochs) / MEMORY)
        cov_MN = CONSTANT + COMMON * near_MN + hyper.trial * options.own * near_MN
        cov_MN += SLOPE_SPREAD**2 * np.outer(expected_M, seen.expected)
        return np.asarray(cov_MN + hyper.configuration * options.alike * (SHARED + (1 - SHARED) * near_MN))


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of which a model knows how alike they are to what was seen, which no epoch changes."""

    model: CurveModel
    alike: np.ndarray
    """Of shape (options, observations): how alike their configurations are."""
    own: np.ndarray
    """Whether an observation is of the option's own trial."""

    def predict(self, epochs_M: np.ndarray, expected_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the value of each at an epoch.

        Args:
            epochs_M: One an option.
            expected_M: What earlier searches let expect of it there; 0 where there are none.
        """
        return self.model._predict(self, epochs_M, expected_M)


def squared_distances(a_MC: np.ndarray, b_NC: np.ndarray) -> np.ndarray:
    """Return them between all pairs of rows."""
    squares_MN = (a_MC**2).sum(1)[:, None] + (b_NC**2).sum(1)[None] - 2 * a_MC @ b_NC.T
    return np.asarray(np.maximum(squares_MN, 0.0))


def matern(squares: np.ndarray) -> np.ndarray:
    """Return the Matérn 5/2 correlation at squared distances."""
    scaled = ROOT_5 * np.sqrt(squares)
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def log_distances(epochs_M: np.ndarray, epochs_N: np.ndarray) -> np.ndarray:
    """Return how many factors of e epochs lie apart."""
    return np.asarray(np.abs(np.log(epochs_M)[:, None] - np.log(epochs_N)[None]))


PRIOR = (1.0, 1.0, 0.5)
"""Medians, before anything is seen, of each length, of `configuration` and of `trial`."""
SPREADS = (0.7, 1.0, 1.0)
"""Standard deviations of their logarithms."""


def learn(observations: Observations, groups_C: np.ndarray, *, num_steps: int = 10) -> Hyperparameters:
    """Return the hyperparameters of the largest posterior density, from a log-normal prior."""
    from scipy.optimize import minimize

    likelihood = _Likelihood(observations, groups_C)
    found = minimize(likelihood, likelihood.start, jac=True, method="L-BFGS-B", options={"maxiter": num_steps})
    *lengths, configuration, trial = np.exp(found.x).tolist()
    return Hyperparameters(lengths=np.array(lengths), configuration=configuration, trial=trial)


class _Likelihood:
    """The negative log posterior density, with its gradient, of the logarithms of the hyperparameters."""

    def __init__(self, seen: Observations, groups_C: np.ndarray) -> None:
        self.values = seen.values - SLOPE * seen.expected
        size = len(seen.values)
        num_parameters = int(groups_C.max()) + 1
        # Columns of one parameter have one length, so their squared differences are added up once.
        squares_NNC = (seen.rows[:, None] - seen.rows[None]) ** 2
        starts = np.searchsorted(groups_C, np.arange(num_parameters))
        self.squares_KP = np.add.reduceat(squares_NNC, starts, axis=2).reshape(size * size, num_parameters)
        near_NN = np.exp(-log_distances(seen.epochs, seen.epochs) / MEMORY)
        self.share_NN = SHARED + (1 - SHARED) * near_NN
        self.own_NN = (seen.trials[:, None] == seen.trials[None]) * near_NN
        self.rest_NN = CONSTANT + COMMON * near_NN + NOISE * np.eye(size)
        self.rest_NN += SLOPE_SPREAD**2 * np.outer(seen.expected, seen.expected)
        counts = [num_parameters, 1, 1]
        self.start = np.repeat(np.log(PRIOR), counts)
        self.spreads = np.repeat(SPREADS, counts)

    def __call__(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Return it with its gradient."""
        size = len(self.values)
        inverse_squares_P = np.exp(-2 * logs[:-2])
        configuration, trial = np.exp(logs[-2:])
        share_NN = configuration * self.share_NN
        scaled_NN = ROOT_5 * np.sqrt(self.squares_KP @ inverse_squares_P).reshape(size, size)
        decay_NN = np.exp(-scaled_NN)
        matern_NN = (1 + scaled_NN + scaled_NN**2 / 3) * decay_NN
        cov_NN = self.rest_NN + share_NN * matern_NN + trial * self.own_NN
        inverse_NN = np.linalg.inv(cov_NN)
        weights_N = inverse_NN @ self.values
        _, log_determinant = np.linalg.slogdet(cov_NN)
        # d/dθ of the negative log likelihood is half the sum of `pull` times d cov / dθ.
        pull_NN = inverse_NN - np.outer(weights_N, weights_N)
        # d matern / d(squared distance) = -5/6 (1 + scaled) exp(-scaled)
        fall_NN = pull_NN * share_NN * (-5 / 6) * (1 + scaled_NN) * decay_NN
        gradient = np.concatenate(
            [
                -inverse_squares_P * (fall_NN.ravel() @ self.squares_KP),
                [0.5 * (pull_NN * share_NN * matern_NN).sum(), 0.5 * trial * (pull_NN * self.own_NN).sum()],
            ]
        )
        offsets = (logs - self.start) / self.spreads
        value = 0.5 * (float(self.values @ weights_N) + float(log_determinant)) + 0.5 * float(offsets @ offsets)
        return value, gradient + offsets / self.spreads
