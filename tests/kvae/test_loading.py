"""A model file opens in a fresh process, whatever was imported first."""


def test_a_fresh_process_with_nothing_but_kvae(make_vae, tmp_path, run_python):
    """The draws of another process (`test_random`) load theirs with Keras's own loader."""
    path = tmp_path / "m.keras"
    make_vae().save(path)
    run = run_python("import kvae, sys; print(type(kvae.load_model(sys.argv[1])).__name__)", path)
    assert run.stdout.strip() == "VAE"
