# shellcheck shell=bash
# The gateway: nginx on one port before all services.

start_gateway() {
    running gateway.supervisor >/dev/null && return
    local folder=$state/gateway service files user='' line
    mkdir -p "$folder"
    files=$(ulimit -Hn)
    [[ $files != unlimited ]] && ((files <= 65536)) || files=65536
    # Workers of a root's nginx are www-data; those of any other user are that user.
    ((EUID != 0)) || user='user www-data;'
    line="s#@USER@#$user#; s#@FILES@#$files#; s#@CONNECTIONS@#$((files / 2 - 64))#; s#@RUN@#$run#; s#@TEMP@#$folder#
          s#@ADDRESS@#${GATEWAY_ADDRESS:-127.0.0.1}#; s#@PORT@#$GATEWAY_PORT#"
    for service in messaging catalog reservation payment; do
        line+=$'\n'"s#^@${service^^}@\$#$(upstream_servers "$service")#"
    done
    sed -e "$line" "$root/deploy/nginx/gateway.conf" >"$folder/nginx.conf"
    start gateway "$(nginx_program)" -p "$folder" -c "$folder/nginx.conf" -e stderr -g 'daemon off;'
    wait_until 20 gateway answers "$GATEWAY_PORT"
}

nginx_program() { command -v nginx || say /usr/sbin/nginx; }

upstream_servers() {
    local instance
    for ((instance = 0; instance < $(instances "$1"); instance++)); do
        printf '        server 127.0.0.1:%s max_fails=0;\\n' "$(port "$1" "$instance")"
    done | sed 's/\\n$//'
}
