"""A payment service provider for development and tests, in a process of its own.

It owns its payments and nothing of Titan. Its truth is one append-only log file of JSON lines, synced to
the disk before a reply leaves; after a restart the state is rebuilt from that file. It never writes a card
token down, and it can be told to misbehave the way real providers do.

Run it with ``python -m psp_sim``. Settings (environment):

    TITAN_PSP_LISTEN               host:port, default 127.0.0.1:18448
    TITAN_PSP_LOG                  the log file, default $TITAN_HOME/psp/psp.jsonl
    TITAN_PSP_API_KEY_FILE         the merchant's key, default $TITAN_HOME/secrets/psp_api_key
    TITAN_PSP_WEBHOOK_SECRET_FILE  signing secrets, one a line, default $TITAN_HOME/secrets/psp_webhook_secret
    TITAN_PSP_WEBHOOK_URL          receives the events of payments that name no webhook_url, optional
    TITAN_PSP_WEBHOOK_CA_FILE      trusted for https webhooks instead of the system's authorities, optional
    TITAN_PSP_PUBLIC_URL           how a customer's browser reaches this process, default http://<listen>

HTTP/1.1 with JSON; money in minor units. ``/v1/payments`` wants ``Authorization: Bearer <API key>``.

    POST /v1/payments                {payment_id, amount_minor, currency, token, return_url?, webhook_url?}
    GET  /v1/payments/{payment_id}
    POST /v1/payments/{payment_id}/capture   {capture_id, amount_minor}
    POST /v1/payments/{payment_id}/refund    {refund_id, amount_minor}
    POST /v1/payments/{payment_id}/void      {}
    GET  /v1/movements?from&until&payment_id&after   the captures and refunds of the log, 200 at a time
    GET  /v1/actions/{payment_id}            the customer's page with its two buttons
    POST /v1/actions/{payment_id}:confirm    and :fail; browsers are sent on to return_url, programs get JSON
    GET, POST, DELETE /control               read, change and reset the misbehaviour; from 127.0.0.1 only
    GET  /healthz

Every call on a payment answers 200 with the payment as it now stands:

    {payment_id, provider_reference, status, amount_minor, currency, captured_minor, refunded_minor,
     decline_code, action: {url, expires_at} or null, operation: {id, amount_minor} or null}

but for movements: {movements: [{kind, payment_id, operation_id, amount_minor, currency, time}], next}, where
``next`` is the ``after`` of the next page, or null.

``status`` is one of processing, requires_action, authorized, captured, declined, voided. The same id with
the same content repeats the answer without an effect; with other content it is 409 ``id_reused``. A refusal
is {"error": {"code", "message"}}: 400 ``malformed``, 401 ``unauthorized``, 404 ``payment_not_found``, 409
``not_authorized``, ``voided``, ``capture_above_authorization``, ``already_captured``, ``refund_above_capture``,
413 ``too_large``. A void of a payment that was never seen leaves a tombstone, and the authorization that
arrives later is declined with ``voided_before``.

Tokens (``psp_sim.rules.SCENARIOS``): tok_visa is accepted; tok_declined and tok_insufficient are refused;
tok_slow answers after 5 s; tok_lost_reply does the work and closes the connection without an answer, once;
tok_action waits for the customer; tok_processing is authorized by itself 2 s later; tok_slow_capture,
tok_lost_capture and tok_error_after_capture misbehave when they are captured, the last two once. Any other
token is declined with ``unknown_token``.

Webhooks are POSTed with ``titan-psp-signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]``, an HMAC-SHA256 over
``<t>.<raw body>`` for each secret of the file, and retried with exponential backoff until a 2xx answer:

    {event_id, type, payment_id, provider_reference, operation_id, amount_minor, currency, sequence,
     occurred_at, decline_code}

``type`` is payment.authorized, .captured, .voided, .refunded or .failed; ``sequence`` counts the events of
one payment from 1.

Log lines: {time, kind, payment_id, amount_minor, currency, provider_reference, effect, ...}. ``kind`` is
authorize, decline, action, process, capture, void, refund or webhook. ``effect`` is false where a call only
repeated an earlier one, so money moved is the sum over lines whose ``effect`` is true. A void's amount is
what it set free, 0 for a tombstone.
"""
