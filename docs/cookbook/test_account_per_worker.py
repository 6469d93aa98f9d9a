"""Workers of your own (threads, processes, another language) each get an account, and do not see each other."""

from concurrent.futures import ThreadPoolExecutor

from caged.emulator import Emulator, RemoteEmulator


def work(url: str, admin_key: str, name: str) -> tuple[str, int, int]:
    with RemoteEmulator(url, admin_key) as emulator:
        with emulator.account(name) as account, account.client() as client:
            account.commands.stub("whoami", f"{name}\n")
            box = client.sandboxes.create()
            said = client.sandboxes.exec(box.id, "whoami").output
            return said, len(client.sandboxes.list()), len(account.journal.commands())


def test_four_workers_share_one_emulator() -> None:
    with Emulator() as emulator, ThreadPoolExecutor(4) as pool:
        names = ["ann", "bob", "cleo", "dan"]
        results = [pool.submit(work, emulator.base_url, emulator.admin_key, name) for name in names]
        assert [result.result(30) for result in results] == [(f"{name}\n", 1, 1) for name in names]
