# ./dev run: Enishi on a laptop, with its own PostgreSQL and sample data. ./dev run --legacy: beside a sample legacy company, as on its first day.
data=${ENISHI_DATA:-$root/.data/run}
legacy=no
[ "${1:-}" = --legacy ] && { legacy=yes; shift; }
preset=${PRESET:-release}
build "$preset"
enishi=$root/build/$preset/enishi
mkdir -p "$(dirname "$data")"

# The steps of docs/takeover/README.md for the three services: what plan prints is run by the company's owner, then the mirror begins.
begin_takeover() {
  local line system domain mapping source sql
  psql -X -q -d "host=$data/socket dbname=enishi user=enishi_owner" -f "$root/samples/legacy/media_sources.sql"
  for line in kokyaku/customer uketsuke/inquiry shohin/goods; do
    system=${line%/*} domain=${line#*/} mapping=$root/samples/legacy/$line source="host=$company/socket dbname=${line%/*} user=enishi" sql=$data/../plan/${line%/*}
    "$enishi" takeover status --json --data "$data" | grep -q "\"domain\" *: *\"$domain\"" && continue
    "$enishi" takeover plan --mapping "$mapping" --source "$source" --data "$data" --sql "$sql" >/dev/null || true  # its errors are what the owner has not run yet
    psql -X -q -v ON_ERROR_STOP=1 -d "host=$company/socket dbname=postgres user=postgres" -f "$sql/server.sql" >/dev/null
    psql -X -q -v ON_ERROR_STOP=1 -d "host=$company/socket dbname=$system user=legacy_owner" -f "$sql/owner.sql" >/dev/null
    "$enishi" takeover start --mapping "$mapping" --source "$source" --data "$data" >/dev/null
  done
  cat <<TEXT

The sample company works in three databases; Enishi mirrors them and shows their customers, inquiries and goods. Log in with the link above (or the password you chose).
  Let its users work:    $enishi demo legacy-traffic --data $company
  How far the mirror is: $enishi takeover status --data $data      (and the page Takeover)
  Look into its systems: psql "host=$company/socket dbname=kokyaku user=legacy_owner"
  The whole way:         docs/takeover/README.md
TEXT
}

if [ "$legacy" = yes ]; then
  company=${ENISHI_LEGACY_DATA:-$root/.data/legacy}
  unset ENISHI_DATA ENISHI_LEGACY_DATA  # theirs is this script, not the servers below
  data=$data-legacy
  "$enishi" demo legacy --data "$company" --log-level warning >&2 &
  company_pid=$!
  trap 'kill "$company_pid" 2>/dev/null; wait "$company_pid" 2>/dev/null' EXIT
  "$enishi" serve --data "$data" "$@" > >(
    begun=no
    while IFS= read -r line; do
      printf '%s\n' "$line"
      case $line in "Enishi is ready at "*)
        # The company makes its databases on its first day; its socket is there when it is open.
        until psql -X -q -d "host=$company/socket dbname=shohin user=legacy_owner" -c 'select 1' >/dev/null 2>&1 || ! kill -0 "$company_pid" 2>/dev/null; do sleep 1; done
        [ $begun = yes ] || begin_takeover
        begun=yes ;;
      esac
    done
  ) &
  server_pid=$!
  trap 'kill "$server_pid" 2>/dev/null' INT TERM
  wait "$server_pid"; wait "$server_pid" 2>/dev/null || true
else
  exec "$enishi" serve --data "$data" --demo "$@"
fi
