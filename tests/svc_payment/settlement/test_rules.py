"""When a provider is asked again."""

from svc_payment.settlement import rules


def test_pauses_double_and_stay_short():
    """Nothing waits for long because a provider was away for long."""
    pauses = [rules.retry_seconds(attempts) for attempts in range(100)]
    assert [0.25, 0.5, 1.0, 2.0, 4.0, 5.0] == pauses[:6]
    assert 5.0 == max(pauses)
