"""A model file opens in a fresh process, whatever was imported first."""


def test_a_fresh_process_with_nothing_but_kvae(make_vae, tmp_path, run_python):
    """The draws of another process (`test_random`) load theirs with Keras's own loader."""
    path = tmp_path / "m.keras"
    make_vae().save(path)
    run = run_python("import kvae, sys; print(type(kvae.load_model(sys.argv[1])).__name__)", path)
    assert run.stdout.strip() == "VAE"


def test_onednn_is_on_unless_the_environment_says_otherwise(run_python, monkeypatch):
    code = "import os, sys, kvae; assert 'tensorflow' not in sys.modules; "
    code += "print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert run_python(code).stdout.strip() == "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert run_python(code).stdout.strip() == "0"
