"""`make mutations`: forty-six faults, seeded one at a time; the default tests are to catch each.

Each fault is a small change of the text of one file, of the kind that people make. The
command copies the project, makes the change there and runs the tests that stand nearest; a fault is
caught when one of them fails. Without a fault they all have to pass. Arguments choose faults by
number or by a word of their description.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TESTS = "tests"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        what: str. What is wrong, for the table.
        file: str. The file below the project's root.
        right: str. The text of the file, which stands there once.
        wrong: str. The text that takes its place.
        tests: tuple of str. The tests that should notice, as pytest names them below `tests`:
            files, or single tests.
    """

    what: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "the sign of the log-variance in the KL",
        "kvae/divergences/kl.py",
        "return 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - 1.0 - z_log_var)",
        "return 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - 1.0 + z_log_var)",
        ("kvae/divergences/test_kl.py",),
    ),
    Fault(
        "the sign of the KL in the loss",
        "kvae/objectives/regularized.py",
        "            return beta * kl\n",
        "            return -beta * kl\n",
        ("kvae/objectives/test_objectives.py::test_terms_and_gradients_are_unbiased",),
    ),
    Fault(
        "the standard deviation is exp(log_var), not exp(log_var / 2)",
        "kvae/layers/sampling.py",
        "return z_mean + ops.exp(0.5 * z_log_var) * epsilon",
        "return z_mean + ops.exp(z_log_var) * epsilon",
        ("kvae/layers/test_sampling.py::test_is_the_formula",),
    ),
    Fault(
        "mean and log-variance are swapped where z is drawn",
        "kvae/posteriors/diagonal_gaussian.py",
        'return reparameterize(params["z_mean"], params["z_log_var"], noise["noise"])',
        'return reparameterize(params["z_log_var"], params["z_mean"], noise["noise"])',
        ("kvae/posteriors/test_posteriors.py::test_draws_have_the_posterior_s_moments",),
    ),
    Fault(
        "the density of a Gaussian lacks its constant",
        "kvae/distributions/gaussian.py",
        "return -0.5 * (squared + log_var + math.log(2 * math.pi))",
        "return -0.5 * (squared + log_var)",
        ("kvae/posteriors/test_posteriors.py::test_log_prob_is_that_of_tfp_and_scipy",),
    ),
    Fault(
        "log p(x|z) is a mean over the event, not a sum",
        "kvae/likelihoods/likelihood.py",
        "return ops.sum(self.log_prob_of_values(params, x), axis=event_axes)",
        "return ops.mean(self.log_prob_of_values(params, x), axis=event_axes)",
        ("kvae/likelihoods/test_likelihoods.py::test_bernoulli_log_prob_is_that_of_tfp",),
    ),
    Fault(
        "a Poisson likelihood lacks log x!",
        "kvae/likelihoods/poisson.py",
        "small = x * log_rate - ops.exp(log_rate) - tf.math.lgamma(x + 1.0)",
        "small = x * log_rate - ops.exp(log_rate)",
        ("kvae/likelihoods/test_discrete.py::test_poisson_log_prob_is_that_of_scipy",),
    ),
    Fault(
        "the loss of a step is a sum over the batch, not a mean",
        "kvae/models/fit/hooks.py",
        "            return tf.reduce_mean\n",
        "            return tf.reduce_sum\n",
        ("kvae/models/test_fit.py::test_one_step_follows_the_gradient_of_the_mean_loss",),
    ),
    Fault(
        "training ignores the weights of the examples",
        "kvae/models/fit/hooks.py",
        "return lambda values: tf.reduce_sum(values * weight) / tf.maximum(total, 1e-12)",
        "return lambda values: tf.reduce_mean(values)",
        ("kvae/models/test_fit.py::test_weights_of_zero_leave_examples_out",),
    ),
    Fault(
        "validation ignores the weights of the examples",
        "kvae/models/fit/train_step.py",
        "tracker.update_state(terms[name], sample_weight=self.metric_weight(name, terms, weight))",
        "tracker.update_state(terms[name])",
        ("kvae/models/test_fit.py::test_weighted_validation",),
    ),
    Fault(
        "validation draws with the same noise for all batches",
        "kvae/models/fit/train_step.py",
        "seed = self._step_seed(random.fold_in(self.seed, seen))",
        "seed = self._step_seed(random.fold_in(self.seed, 0))",
        ("kvae/models/test_fit.py",),
    ),
    Fault(
        "the weights of IWAE have gradients of their own (a missing stop_gradient)",
        "kvae/objectives/importance_weighted.py",
        "log_weights = tf.stop_gradient(log_px + beta * (log_pz - log_q))",
        "log_weights = log_px + beta * (log_pz - log_q)",
        (
            "kvae/objectives/test_importance_weighted.py::test_gradients_are_those_of_the_exact_bound",
        ),
    ),
    Fault(
        "the importance-weighted bound is a sum of weights, not their mean",
        "kvae/objectives/importance_weighted.py",
        "return tf.reduce_logsumexp(values, axis=axis) - math.log(values.shape[axis])",
        "return tf.reduce_logsumexp(values, axis=axis)",
        (
            "kvae/objectives/test_importance_weighted.py::test_bounds_rise_to_the_exact_log_likelihood",
        ),
    ),
    Fault(
        "estimates of log p(x) are not divided by the number of samples",
        "kvae/evaluation/marginal_likelihood/log_prob.py",
        '"value": largest + np.log(total) - math.log(num_samples),',
        '"value": largest + np.log(total) - math.log(num_samples + 1),',
        ("kvae/evaluation/test_log_prob.py",),
    ),
    Fault(
        "a schedule is late by one step",
        "kvae/schedules.py",
        'done = ops.clip((ops.cast(step, "float32") - self.delay) / self.steps, 0.0, 1.0)',
        'done = ops.clip((ops.cast(step, "float32") - self.delay - 1) / self.steps, 0.0, 1.0)',
        ("kvae/test_schedules.py::test_linear",),
    ),
    Fault(
        "a flow prior ignores the temperature",
        "kvae/priors/flow.py",
        'z = temperature * noise["noise"]',
        'z = noise["noise"]',
        ("kvae/priors/test_base_noise.py::test_the_temperature_multiplies_gaussian_noise",),
    ),
    Fault(
        "the mask of an autoregressive flow is inverted",
        "kvae/flows/masked_network.py",
        'self.masks.append(sees(after[None, :], before[:, None]).astype("float32"))',
        'self.masks.append(1.0 - sees(after[None, :], before[:, None]).astype("float32"))',
        ("kvae/flows/test_flows.py::test_each_coordinate_depends_on_those_before_it_alone",),
    ),
    Fault(
        "the log-determinant of an autoregressive flow is summed over the wrong axis",
        "kvae/flows/autoregressive.py",
        "return ops.exp(log_scale) * z + shift, ops.sum(log_scale, axis=-1)",
        "return ops.exp(log_scale) * z + shift, ops.sum(log_scale, axis=0)",
        ("kvae/flows/test_flows.py::test_log_determinant_is_that_of_the_autodiff_jacobian",),
    ),
    Fault(
        "every epoch sees the data in the same order (its number is ignored)",
        "kvae/datasets/batches.py",
        "epoch_seed = random.fold_in(random.as_seed(seed), epoch)",
        "epoch_seed = random.fold_in(random.as_seed(seed), 0)",
        ("kvae/datasets/test_dataset.py::test_the_order_is_a_function_of_seed_and_epoch",),
    ),
    Fault(
        "draws ignore their seed",
        "kvae/random.py",
        "bits = _bits(shape, as_seed(seed), tf.uint32)",
        "bits = _bits(shape, as_seed(0), tf.uint32)",
        ("kvae/test_random.py",),
    ),
    Fault(
        "a batch need not lie in the likelihood's support",
        "kvae/models/fit/guard.py",
        "        if support:\n            of_support",
        "        if not support:\n            of_support",
        ("kvae/models/test_batches_checked.py::test_later_batches_of_every_form",),
    ),
    Fault(
        "under XLA a bad batch is learnt from",
        "kvae/models/fit/guard.py",
        "variable.assign(tf.where(wrong, old, variable.value))",
        "variable.assign(variable.value)",
        ("kvae/models/test_batches_checked.py::test_a_step_that_xla_has_compiled_is_taken_back",),
    ),
    Fault(
        "a block of steps sees its first batch again and again",
        "kvae/models/fit/blocks.py",
        "begin = [step * size, *[0] * (values.shape.rank - 1)]",
        "begin = [0, *[0] * (values.shape.rank - 1)]",
        ("kvae/models/test_blocks.py::test_a_block_is_its_steps",),
    ),
    Fault(
        "a training resumes with the best weights, not the last ones",
        "kvae/callbacks/checkpoint.py",
        "        model.load_weights(last)\n",
        "        model.load_weights(best)\n",
        (
            "kvae/callbacks/test_checkpoint.py::test_an_interrupted_training_ends_with_the_same_bits",
        ),
    ),
    Fault(
        "a training that is told to end does not stop",
        "kvae/callbacks/checkpoint.py",
        "            self.model.stop_training = True\n",
        "            self.model.stop_training = False\n",
        (
            "kvae/callbacks/test_termination.py::test_a_terminated_training_goes_on_to_the_same_weights",
        ),
    ),
    Fault(
        "freezing the encoder leaves the heads of its posterior training",
        "kvae/models/trainable.py",
        '"encoder": ("encoder", "posterior", "missing", "conditions"),',
        '"encoder": ("encoder", "missing"),',
        ("kvae/models/test_trainable.py::test_freeze_means_all_of_a_side",),
    ),
    Fault(
        "the decoder sees the labels of other examples",
        "kvae/models/labels.py",
        "return self._vae.decode_params(z, self.label, training=training)",
        "return self._vae.decode_params(z, self.label[::-1], training=training)",
        ("kvae/models/test_conditional.py::test_log_prob_given_the_label_is_exact",),
    ),
    Fault(
        "a standardized density lacks the logarithm of the scale",
        "kvae/likelihoods/location_scale.py",
        "return spread + self.power * ops.log(self.data_scale) if self.standardize else spread",
        "return spread",
        ("kvae/likelihoods/test_scale.py::test_log_prob_is_the_scaled_gaussians",),
    ),
    Fault(
        "the components of a VampPrior all weigh 1",
        "kvae/priors/vamp.py",
        "return ops.logsumexp(tf.nn.log_softmax(logits) + each, axis=-1)",
        "return ops.logsumexp(each, axis=-1)",
        ("kvae/priors/test_vamp.py::test_log_prob_is_the_mixture_of_the_pseudo_inputs_posteriors",),
    ),
    Fault(
        "graphs of a model are made anew at every call",
        "kvae/models/compiled_functions.py",
        "made = self._made.get(key)",
        "made = None",
        ("kvae/models/test_kept_graphs.py::test_only_the_first_call_makes_graphs",),
    ),
    Fault(
        "weights are not compared with the hash on their card",
        "zoo/weights.py",
        "    if found != sha256:\n",
        "    if not found:\n",
        ("zoo/test_pretrained.py::TestBadFiles",),
    ),
    Fault(
        "the figures of a card are measured on the training data",
        "zoo/training.py",
        'data = data_of(recipe, "test")',
        'data = data_of(recipe, "train")',
        ("zoo/test_pretrained.py::TestEveryModel::test_figures_have_not_drifted",),
    ),
    Fault(
        "the networks of a conditional model ignore the label",
        "zoo/networks.py",
        'layers.Concatenate(name="with_label")([x, label])',
        'layers.Concatenate(name="with_label")([x, 0.0 * label])',
        (
            "zoo/test_architectures.py::TestContract"
            "::test_both_networks_of_a_conditional_model_see_the_label",
        ),
    ),
    Fault(
        "a version that exists is not recognised",
        "export/writers/saved_model.py",
        "if version in versions(directory):",
        "if str(version) in versions(directory):",
        ("export/test_saved_model.py::test_versions_count_up_and_are_never_overwritten",),
    ),
    Fault(
        "exported interpolations run from the end to the start",
        "export/graphs/endpoints.py",
        "interpolation.interpolate(model, start, end, tf.minimum",
        "interpolation.interpolate(model, end, start, tf.minimum",
        ("export/test_signatures.py::test_each_row_of_an_interpolation_has_its_own_steps",),
    ),
    Fault(
        "an exported model draws other z than `sample` with the same seed",
        "export/graphs/endpoints.py",
        "return given.sample(1, random.split(seed)[0], temperature)[0]",
        "return given.sample(1, random.split(seed)[1], temperature)[0]",
        ("export/test_saved_model.py::test_generate_is_sample_with_a_seed_for_each_row",),
    ),
    Fault(
        "every file is held to the bound of eight bits",
        "export/verification/verify.py",
        "tolerance = tolerances.TOLERANCES[precision]",
        'tolerance = tolerances.TOLERANCES["int8"]',
        ("export/test_tflite.py::test_verify_runs_a_file_of_each_precision",),
    ),
    Fault(
        "numbers that are too small pass the verification",
        "export/verification/comparison.py",
        "difference = np.abs(have.astype(np.float64) - want)",
        "difference = have.astype(np.float64) - want",
        ("export/test_verify.py::test_images_of_images_may_differ_by_what_their_codes_do_besides",),
    ),
    Fault(
        "the SHA-256 in a TFLite file is not checked",
        "export/files/checksum.py",
        "if len(found) != 1 or embed(data.replace(found[0], PLACEHOLDER.encode())) != data:",
        "if len(found) != 1:",
        ("export/test_tflite.py::test_a_changed_bit_anywhere_is_noticed",),
    ),
    Fault(
        "the server hands on numbers that are not finite",
        "export/serving/development/requests.py",
        'if array.dtype.kind == "f" and not np.isfinite(array).all():',
        'if array.dtype.kind == "i" and not np.isfinite(array).all():',
        ("export/test_server.py::test_wrong_tensors_by_grpc",),
    ),
    Fault(
        "a p-value does not count the new row itself",
        "kvae/detection/calibration.py",
        "return ((1 + count - below) / (1 + count)).astype(np.float32)",
        "return ((count - below) / (1 + count)).astype(np.float32)",
        (
            "kvae/detection/test_calibration.py::test_p_values_count_the_normal_scores_that_are_at_least_as_high",
        ),
    ),
    Fault(
        "one normal row too many may be flagged",
        "kvae/detection/calibration.py",
        "return float(self.sorted_scores[len(self.scores) - allowed])",
        "return float(self.sorted_scores[len(self.scores) - allowed - 1])",
        ("kvae/detection/test_calibration.py::test_a_verdict_is_a_p_value_of_at_most_the_rate",),
    ),
    Fault(
        "the weights of an imputation leave the prior out",
        "kvae/evaluation/imputation.py",
        "    log_weight = log_px + log_ratio\n",
        "    log_weight = log_px + 0.0 * log_ratio\n",
        ("kvae/models/test_missing.py::test_weights_correct_a_posterior_that_is_wrong",),
    ),
    Fault(
        "batches in a block are not checked",
        "kvae/models/fit/batch_blocks.py",
        "        if not self._fits(joined):",
        "        if False:",
        (
            "kvae/models/test_batch_blocks.py::test_a_bad_batch_ends_a_block_after_the_steps_before_it",
        ),
    ),
    Fault(
        "a merged request gets the rows of the one before it",
        "export/serving/development/served_model.py",
        "{name: array[start:end] for name, array in outputs.items()}",
        "{name: array[: request.rows] for name, array in outputs.items()}",
        ("export/test_batching.py::test_requests_that_wait_run_as_one",),
    ),
    Fault(
        "training keeps a threshold of the model as it was",
        "kvae/models/fit/fit.py",
        "        self.forget_measured()\n",
        "",
        ("kvae/detection/test_detector.py::test_a_model_that_changes_loses_its_threshold",),
    ),
)


def wrong_text(fault: Fault, root: pathlib.Path = ROOT) -> str:
    """Returns the file of a fault with the fault in it.

    Raises:
        ValueError: where the right text does not stand in the file exactly once.
    """
    text = (root / fault.file).read_text(encoding="utf-8")
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.file} holds {fault.right!r} {text.count(fault.right)} times.")
    return text.replace(fault.right, fault.wrong)


def tests_pass(tests: list[str], fault: Fault | None = None) -> bool:
    """Runs tests in a copy of the project, with a fault or without one.

    Raises:
        RuntimeError: where the tests could not run at all.
    """
    with tempfile.TemporaryDirectory(prefix="kvae-mutation-") as folder:
        copy = pathlib.Path(folder)
        for name in ("benchmarks", "kvae", "zoo", "export", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if fault is not None:
            (copy / fault.file).write_text(wrong_text(fault), encoding="utf-8")
        chosen = [f"{TESTS}/{test}" for test in tests]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    if fault is None and done.returncode:
        print(done.stdout[-2000:])
    return done.returncode == 0


def main(words: list[str]) -> int:
    """Tries the faults that the words name, or all; returns 1 where one survives."""
    chosen = [
        (number, fault)
        for number, fault in enumerate(FAULTS, 1)
        if not words or any(word == str(number) or word in fault.what for word in words)
    ]
    if not chosen:
        print(f"No fault is named by {' '.join(words)}: give a number from 1 to {len(FAULTS)}.")
        return 2
    if not tests_pass(sorted({test for _, fault in chosen for test in fault.tests})):
        print("The tests fail without any fault.")
        return 2
    survived = 0
    for number, fault in chosen:
        caught = not tests_pass(list(fault.tests), fault)
        survived += not caught
        print(f"| {number} | {fault.what} | {'caught' if caught else 'SURVIVED'} |", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
