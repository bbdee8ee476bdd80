# Finds, runs and counts the stages of scripts/test. Sourced after common.sh.
#
# A stage is one executable file scripts/stages/NN-name. Its head may say, each on one line:
#   # What: what it shows, for --list
#   # Needs: Debian packages, installed before the first stage runs
#   # Crates: folders of crates without which there is nothing to run
# It exits with 0 for passed, 77 for skipped (its last line says why), anything else for failed.
# It finds VTPM_TEST_LENGTH (quick, normal or long) in its environment.
# shellcheck shell=bash

STAGES_DIR=$ROOT/scripts/stages
LOGS_DIR=$CARGO_TARGET_DIR/test-logs
stage_group=

# Names of all stages, in the order in which they run.
stage_names() {
    local file
    for file in "$STAGES_DIR"/[0-9][0-9]-*; do
        file=$(basename "$file")
        say "${file#[0-9][0-9]-}"
    done
}

# The file of stage $1.
stage_file() {
    local file
    for file in "$STAGES_DIR"/[0-9][0-9]-"$1"; do
        [[ -x $file ]] && say "$file" && return 0
    done
    die "no stage '$1'; there are: $(stage_names | tr '\n' ' ')"
}

# What stage $1 says in its head under the word $2.
stage_says() { sed -n "s/^# $2: *//p" "$(stage_file "$1")"; }

# Installs the packages that the stages in $@ need.
prepare_stages() {
    local stage
    local -a packages=()
    for stage in "$@"; do
        read -ra words <<<"$(stage_says "$stage" Needs | tr '\n' ' ')"
        packages+=("${words[@]}")
    done
    ensure_packages "${packages[@]}"
}

# Runs stage $1 in a process group of its own, its output to the terminal and to a log.
# Sets stage_status and stage_reason.
# shellcheck disable=SC2034 # scripts/test reads what this sets
run_stage() {
    local stage=$1 file log output tee_pid missing
    local -a crates
    file=$(stage_file "$stage")
    log=$LOGS_DIR/$stage.log
    stage_reason=
    read -ra crates <<<"$(stage_says "$stage" Crates)"
    if missing=$(missing_crate "${crates[@]}"); then
        stage_status=$SKIPPED
        stage_reason="$missing is not in the tree"
        return 0
    fi
    mkdir -p "$LOGS_DIR"
    exec {output}> >(exec tee "$log")
    tee_pid=$!
    setsid "$file" >&"$output" 2>&1 </dev/null {output}>&- &
    stage_group=$!
    exec {output}>&-
    stage_status=0
    wait "$stage_group" || stage_status=$?
    end_stage_group
    wait "$tee_pid" || true
    if [[ $stage_status -eq $SKIPPED ]]; then
        stage_reason=$(tail -n 1 "$log" | sed 's/^skipped: //')
    fi
}

# Ends whatever the running stage started; also called on Ctrl-C.
end_stage_group() {
    [[ -n $stage_group ]] || return 0
    kill -TERM -- "-$stage_group" 2>/dev/null || true
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        kill -0 -- "-$stage_group" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL -- "-$stage_group" 2>/dev/null || true
    stage_group=
}
