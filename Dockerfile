# A worker, and every command of `audience-relay`:
#   docker run IMAGE audience-relay --help

FROM python:3.12-slim AS wheel
WORKDIR /src
COPY requirements-dev.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-dev.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 \
    RELAY_CONFIG=/etc/audience-relay/relay.toml
COPY requirements.lock /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock && rm /tmp/requirements.lock
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl && rm -r /tmp/wheels
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin relay
USER relay
# Without a shell in between, so that Celery itself gets SIGTERM and finishes the batch in hand. Stop it with
# patience: docker stop --timeout 35.
CMD ["celery", "-q", "-A", "worker.app", "worker", "--without-gossip", "--without-mingle", "--loglevel", "info", "-n", "worker@%h"]
