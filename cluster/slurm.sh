#!/usr/bin/env bash
# One search on the nodes of a Slurm job: Ray's head and the search itself on the first, a Ray worker on each.
#
#   sbatch --nodes=4 cluster/slurm.sh search data/textile --time 2h --out runs/textile
#   sbatch --nodes=4 cluster/slurm.sh resume runs/textile
#
# Submit it in the checkout, with autoft's environment active. The checkout, the environment, the data and --out lie on
# a disk that all nodes share. cluster/README.md says more.
#SBATCH --job-name=autoft
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=02:30:00
#SBATCH --no-kill
#SBATCH --signal=B:TERM@180
#SBATCH --output=autoft-%j.log
set -euo pipefail

if [[ ${1:-} != search && ${1:-} != resume ]] || [[ -z ${SLURM_JOB_ID:-} ]]; then
    echo "usage: sbatch cluster/slurm.sh search DATA ... --out RUN, or: resume RUN ..." >&2
    exit 2
fi
for command in ray autoft; do
    if ! command -v "$command" > /dev/null; then
        echo "There is no command '$command' on $(hostname); activate autoft's environment before sbatch." >&2
        exit 2
    fi
done

# Ray's token: made for this job, in a file that only its user reads, known to the processes by the file's path.
private=$(umask 077 && mktemp -d "$SLURM_SUBMIT_DIR/.autoft-$SLURM_JOB_ID-XXXXXX")
trap 'rm -rf "$private"' EXIT
(umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$private/token")
unset RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$private/token"
export RAY_health_check_timeout_ms=3000 # a node that answers nothing is taken for lost after half a minute

# The job's number keeps apart what two jobs on one node would share: the port, and the folder on each node's own disk,
# for Ray's sockets and logs, to which the path must be short, and for the data that autoft prepares once a machine.
port=$((20000 + SLURM_JOB_ID % 10000))
own=/tmp/autoft-job-$SLURM_JOB_ID
export AUTOFT_CACHE=${AUTOFT_CACHE:-$own/cache}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
ip=$({ getent ahostsv4 "${nodes[0]}" || true; } | awk '$1 !~ /^127\./ {print $1; exit}') # a name may have no address
ip=${ip:-$(hostname -I | awk '{print $1}')}

ray_on() { # COUNT NODES ARGUMENTS...: run Ray on each of these nodes, in the background, until it is ended.
    local count=$1 names=$2
    shift 2
    srun --overlap --nodes="$count" --ntasks="$count" --ntasks-per-node=1 --nodelist="$names" --kill-on-bad-exit=0 \
        --cpus-per-task="$SLURM_CPUS_PER_TASK" \
        ray start "$@" --block --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
        --min-worker-port=0 --max-worker-port=0 --disable-usage-stats &
    steps+=("$!")
}

steps=()
search=
# shellcheck disable=SC2329  # the trap calls it
leave() {
    if ((${#steps[@]})); then
        kill "${steps[@]}" 2> /dev/null || true # one may have ended by itself
        wait "${steps[@]}" || true              # with the status of a signal
    fi
    rm -rf "$private"
    srun --overlap --ntasks-per-node=1 rm -rf "$own" || echo "$own may be left on some nodes." >&2
}
trap leave EXIT
# Slurm's notice before the time is up, and `scancel --signal=TERM --batch`: the search saves its state and ends.
trap 'if [[ -n $search ]]; then kill -TERM "$search"; else exit 143; fi' TERM

ray_on 1 "${nodes[0]}" --head --node-ip-address="$ip" --port="$port" --temp-dir="$own/ray" --include-dashboard=false
until (exec 3<> "/dev/tcp/$ip/$port") 2> /dev/null; do
    if ! kill -0 "${steps[0]}" 2> /dev/null; then
        echo "Ray's head did not start on ${nodes[0]}; its output is above." >&2
        exit 1
    fi
    sleep 1
done
if ((${#nodes[@]} > 1)); then
    ray_on "$((${#nodes[@]} - 1))" "$(IFS=,; echo "${nodes[*]:1}")" --address="$ip:$port"
fi

# What "--address auto" means, now and in a resume by another job on other nodes.
export RAY_ADDRESS=$ip:$port
address=()
[[ $1 == search ]] && address=(--address auto)
autoft "$@" "${address[@]}" &
search=$!
status=0
wait "$search" || status=$?
if ((status > 128)) && kill -0 "$search" 2> /dev/null; then # the notice came while it waited
    status=0
    wait "$search" || status=$?
fi
exit "$status"
