# shellcheck shell=bash
# The gateway: nginx on one port before all services.

# shellcheck source=../deploy/nginx/fill.sh
source "$root/deploy/nginx/fill.sh"

start_gateway() {
    local folder=$state/gateway files pid user=''
    # Its workers pass through to what they buffer there.
    mkdir -p "$folder"
    chmod 711 "$folder"
    copy_site "$folder"
    files=$(ulimit -Hn)
    [[ $files != unlimited ]] && ((files <= 65536)) || files=65536
    # Workers of a root's nginx are www-data; those of any other user are that user.
    ((EUID != 0)) || user='user www-data;'
    fill_gateway "$root/deploy/nginx/gateway.conf" "${GATEWAY_ADDRESS:-127.0.0.1}:$GATEWAY_PORT" "$user" "$files" \
        "$run" "$folder" "$folder/site" >"$folder/next.conf"
    # Further instances since it was started: nginx goes on with them and drops nothing that is under way.
    if cmp --silent "$folder/nginx.conf" "$folder/next.conf"; then
        rm "$folder/next.conf"
    else
        mv "$folder/next.conf" "$folder/nginx.conf"
        ! pid=$(running gateway.pid) || signal HUP "$pid"
    fi
    start gateway "$(nginx_program)" -p "$folder" -c "$folder/nginx.conf" -e stderr -g 'daemon off;'
    wait_until 20 gateway answers "$GATEWAY_PORT"
}

# The web client as it was built last, where nginx's workers may read it. Pages that are open go on with the files that they
# were made of: those stay.
copy_site() {
    mkdir -p "$1/site/assets"
    if [[ -f $root/.build/web/site/index.html ]]; then
        cp --recursive "$root/.build/web/site/assets" "$1/site/"
        find "$root/.build/web/site" -maxdepth 1 -type f -exec cp {} "$1/site/" \;
    fi
    chmod -R u=rwX,go=rX "$1/site"
}

nginx_program() { command -v nginx || say /usr/sbin/nginx; }

# Those that are wanted, and those that run besides.
upstream_servers() {
    local instance=0
    while ((instance < $(instances "$1"))) || running "$(process "$1" "$instance").supervisor" >/dev/null; do
        say "server 127.0.0.1:$(port "$1" "$instance") max_fails=0;"
        ((++instance))
    done
}
