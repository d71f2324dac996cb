#!/usr/bin/env bash
# Prepares one machine of a Ray cluster; aws.yaml, gcp.yaml and azure.yaml call it on each, an Ubuntu 24.04.
#
#   node.sh install          Python, autoft and Ray in ~/venv; the driver, where there is an NVIDIA GPU without one
#   node.sh add PACKAGE...   more into ~/venv
#   node.sh share            on the head: /mnt/autoft, exported over NFS to the private network
#   node.sh mount HEAD_IP    on a worker: the head's /mnt/autoft at the same path
#   node.sh keep COMMAND...  on a worker: `ray start --block` as a service of the machine, which has time to end
#   node.sh told             whether the cloud has said that it takes this machine back; 0: it has
#   node.sh notice           wait until it has, and end Ray then; `keep` starts it
#   node.sh leave            in a container: end the Ray that it was started for, and wait until it has ended
#
# Twice is no error.
set -euo pipefail

FILES=~/autoft
SHARED=/mnt/autoft
METADATA=${METADATA:-http://169.254.169.254}

usage() {
    echo "usage: node.sh install|add PACKAGE...|share|mount HEAD_IP|keep COMMAND...|told|notice|leave" >&2
    exit 2
}

packages() {
    local tries=30
    until sudo apt-get -qq update; do # a machine that has just booted may be updating itself
        if ((--tries == 0)); then
            echo "apt-get update has failed for 5 minutes." >&2
            exit 1
        fi
        sleep 10
    done
    sudo DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y "$@"
}

has_gpu() {
    grep -qs 0x10de /sys/bus/pci/devices/*/vendor
}

install_driver() {
    packages ubuntu-drivers-common nvidia-modprobe
    sudo ubuntu-drivers install --gpgpu
    sudo modprobe nvidia
    sudo nvidia-modprobe --create-nvidia-device-file=0 --unified-memory
}

add() {
    if [[ ! -x ~/uv/bin/uv ]]; then
        echo "There is no ~/uv to add $* with; 'node.sh install' makes it." >&2
        exit 1
    fi
    ~/uv/bin/uv pip install --quiet --python ~/venv --compile-bytecode \
        --constraint "$FILES/constraints.txt" --overrides "$FILES/overrides.txt" "$@"
}

install() {
    local wheels=("$FILES"/dist/autoft-*.whl)
    if [[ ${#wheels[@]} -ne 1 || ! -f ${wheels[0]} ]]; then
        echo "There must be one autoft-*.whl in $FILES/dist; cluster/README.md says how to make it." >&2
        exit 1
    fi
    packages python3-venv
    local backend=(--torch-backend cpu)
    if has_gpu; then
        backend=()
        [[ -e /proc/driver/nvidia/version ]] || install_driver
    fi
    # The uv and the Python that CI tests with, whatever the image has.
    [[ -x ~/uv/bin/uv ]] || python3 -m venv ~/uv
    ~/uv/bin/pip install --quiet --constraint "$FILES/constraints.txt" uv
    [[ -x ~/venv/bin/python ]] || ~/uv/bin/uv venv --quiet --python 3.11 ~/venv
    add "${backend[@]}" "${wheels[0]}[demo]" 'ray[default]'
    # shellcheck disable=SC2016  # the shells that read the file expand it
    grep -qs 'venv/bin' ~/.bashrc || echo 'export PATH="$HOME/venv/bin:$PATH" RAY_AUTH_MODE=token' >> ~/.bashrc
}

share() {
    packages nfs-kernel-server
    sudo mkdir -p "$SHARED"/{data,runs}
    sudo chown "$(id -u):$(id -g)" "$SHARED" "$SHARED"/{data,runs}
    # Whoever writes from a worker is this user here: the images of head and workers may number theirs differently.
    local options
    options="rw,sync,no_subtree_check,all_squash,anonuid=$(id -u),anongid=$(id -g)"
    echo "$SHARED 10.0.0.0/8($options) 172.16.0.0/12($options) 192.168.0.0/16($options)" |
        sudo tee /etc/exports.d/autoft.exports > /dev/null
    sudo exportfs -ra
}

mount_shared() {
    packages nfs-common
    sudo mkdir -p "$SHARED"
    # What another node has just written is there at once: a trial may go on here from a checkpoint made elsewhere.
    mountpoint --quiet "$SHARED" || sudo mount -t nfs4 -o lookupcache=positive,actimeo=1 "$1:$SHARED" "$SHARED"
}

cloud() {
    case "$(cat /sys/class/dmi/id/sys_vendor)" in
        Amazon*) echo aws ;;
        Google*) echo gcp ;;
        Microsoft*) echo azure ;;
    esac
}

# Ray drains its node at SIGTERM: the search takes each trial away at the end of its epoch, Ray ends once none is left,
# or after the seconds that it is given. They lie within those between a cloud's notice and the machine's end: 120 on
# AWS, 30 on the others. As a service of its own Ray gets that signal alone, and before the network goes, also when the
# machine is shut down; what is started over SSH is killed at once.
keep() {
    local seconds=25 options=() name
    [[ $(cloud) != aws ]] || seconds=105
    for name in $(compgen -e RAY_); do # what the autoscaler says of this node
        [[ $name != RAY_AUTH_TOKEN ]] || continue # a command line is seen by all; Ray reads ~/.ray/auth_token
        options+=("--setenv=$name=${!name}")
    done
    sudo systemctl stop autoft-notice autoft-ray 2> /dev/null || true # there may be none
    sudo systemctl reset-failed autoft-ray 2> /dev/null || true
    sudo systemd-run --quiet --unit=autoft-ray --uid="$(id -u)" --gid="$(id -g)" --working-directory="$HOME" \
        --property=After=network-online.target --property=KillMode=mixed --property="TimeoutStopSec=$((seconds + 10))" \
        --property=LimitNOFILE=65536 --setenv=HOME="$HOME" --setenv=PATH="$HOME/venv/bin:$PATH" "${options[@]}" \
        --setenv=RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="$seconds" "$@"
    sudo systemd-run --quiet --unit=autoft-notice bash "$FILES/node.sh" notice
}

told() {
    local token
    case "${CLOUD:-$(cloud)}" in
        aws)
            token=$(ask --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 60" "$METADATA/latest/api/token") &&
                ask --header "X-aws-ec2-metadata-token: $token" "$METADATA/latest/meta-data/spot/instance-action" > /dev/null
            ;;
        gcp)
            ask --header "Metadata-Flavor: Google" "$METADATA/computeMetadata/v1/instance/preempted" | grep -q TRUE
            ;;
        azure)
            ask --header "Metadata: true" "$METADATA/metadata/scheduledevents?api-version=2020-07-01" |
                grep -Eq '"EventType": *"(Preempt|Terminate)"'
            ;;
        *) return 1 ;;
    esac
}

ask() {
    curl --silent --fail --noproxy '*' --max-time 2 "$@"
}

notice() {
    until told; do
        sleep 3
    done
    systemctl stop autoft-ray
}

leave() {
    local process left=()
    for process in 1 $(cat /proc/1/task/1/children); do
        if [[ $(tr '\0' ' ' < "/proc/$process/cmdline") == *python*"ray start "* ]]; then
            kill -TERM "$process"
            left+=("$process")
        fi
    done
    for process in "${left[@]}"; do
        while [[ -d /proc/$process ]]; do
            sleep 1
        done
    done
}

case "${1:-} $#" in
    "install 1") install ;;
    "add 1" | "keep 1" | "mount 1") usage ;;
    "add "*) add "${@:2}" ;;
    "share 1") share ;;
    "mount 2") [[ -n $2 ]] || usage && mount_shared "$2" ;;
    "keep "*) keep "${@:2}" ;;
    "told 1") told ;;
    "notice 1") notice ;;
    "leave 1") leave ;;
    *) usage ;;
esac
