"""kill -9 of the deployer after every single step, and a power cut there."""

from tests.deploy.madeup import Host
from tests.real.processes import until


def run_to_its_end(host: Host, revision: str, steps: int) -> None:
    done = host.deploy()
    assert done.returncode == 0, done.stdout
    assert host.current == revision, f"killed after step {steps}"
    assert host.answers == str(host.repository.count)
    assert not (host.opt / "pending").exists()


def test_killed_after_any_step_no_request_is_lost(installed: Host) -> None:
    steps = 0
    with installed.client() as client:
        while True:
            steps += 1
            revision = installed.repository.commit()
            done = installed.deploy(LOTUS_DEPLOY_DIE_AFTER=str(steps))
            if done.returncode == 0:
                break
            assert done.returncode == -9, done.stdout
            assert (installed.opt / "current/finished").exists()
            # What is left of a run that has not switched yet, the next one starts with.
            if (installed.opt / "pending").exists() or installed.current == revision:
                run_to_its_end(installed, revision, steps)
    print(f"FIGURE upgrade killed after each of {steps - 1} steps: {client.told()}")
    assert client.lost == []
    assert steps > 15


def test_killed_in_a_rollback_the_next_run_ends_it(installed: Host) -> None:
    first, answers = installed.current, installed.answers
    seconds = {"LOTUS_DEPLOY_PROBE_SECONDS": "1.5"}
    bad = installed.repository.commit("crashes")
    whole = installed.deploy(**seconds)
    assert whole.returncode == 6
    said = [line for line in whole.stdout.splitlines() if not line.startswith(" ")]
    start = next(i for i, line in enumerate(said) if line.startswith("probe it for"))
    with installed.client() as client:
        for steps in range(start - 2, 2 * start):  # some lines that were said are no steps
            (installed.opt / "refused" / bad).unlink()
            done = installed.deploy(LOTUS_DEPLOY_DIE_AFTER=str(steps), **seconds)
            if done.returncode == 6:
                break
            assert done.returncode == -9, done.stdout
            again = installed.deploy(**seconds)
            assert again.returncode in (6, 0), again.stdout
            assert (installed.current, installed.answers) == (first, answers)
            assert (installed.opt / "refused" / bad).exists()
    print(f"FIGURE rollback killed after each of {steps - start + 2} steps: {client.told()}")
    assert steps > start + 6
    assert client.lost == []


def test_without_power_at_any_step_of_the_switch_a_release_runs(installed: Host) -> None:
    installed.repository.commit()
    whole = installed.deploy()
    said = [line for line in whole.stdout.splitlines() if not line.startswith(" ")]
    start = next(i for i, line in enumerate(said) if line.startswith("back up the state"))
    for steps in range(start, len(said) + 1):
        revision = installed.repository.commit()
        done = installed.deploy(LOTUS_DEPLOY_DIE_AFTER=str(steps))
        installed.systemd.power_cut()
        installed.systemd.boot()
        until(f"a token after a power cut at step {steps}", installed.asks_for_a_token, 10)
        if done.returncode == 0:
            break
        run_to_its_end(installed, revision, steps)
