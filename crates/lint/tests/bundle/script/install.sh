#!/bin/sh
set -eu
helm upgrade --install --atomic monitoring prometheus-community/kube-prometheus-stack --version 77.0.0
helm upgrade --install --atomic cert-manager jetstack/cert-manager --version v1.18.2 --set prometheus.servicemonitor.enabled=true
