#!/bin/bash
# Trains RCAN on a Cloud TPU slice without Kubernetes: `bash docs/cluster/tpu-pod.sh NAME ZONE`.
# The same command runs on all hosts, which find each other. REPOSITORY stands for the address of this
# repository, /shared for storage that all hosts mount.
set -euo pipefail
name=$1
zone=$2
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --command="git clone REPOSITORY sr_jax && cd sr_jax && make venv ACCELERATOR=tpu"
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --command="cd sr_jax && .venv/bin/python -m sr_jax.main --config=configs/rcan.py:x2,folder=/shared/div2k --workdir=/shared/runs/rcan --config.data.batch_size=32 --config.train.dtype=bfloat16"
