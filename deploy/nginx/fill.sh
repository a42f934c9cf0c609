# shellcheck shell=bash
# Fills in the gateway's settings, deploy/nginx/gateway.conf, for the single machine as for a container.

# What one client's address may do, and whose addresses are another matter; docs/configuration.md says more.
: "${GATEWAY_RATE:=100}" "${GATEWAY_CONNECTIONS:=128}" "${GATEWAY_STREAMS:=1000}"
: "${GATEWAY_TRUSTED_PROXIES:=none}" "${GATEWAY_UNLIMITED:=none}" "${GATEWAY_ORIGINS:=none}"

# fill_gateway TEMPLATE ADDRESS:PORT USER FILES RUN TEMP SITE: writes the settings to standard output. USER is nginx's `user`
# directive or nothing, FILES how many a worker may open, RUN and TEMP folders, SITE that of the web client. Who sources this defines
# `upstream_servers SERVICE`: one `server …;` a line.
fill_gateway() {
    local service name line connections=$(($4 - 128))
    for name in GATEWAY_RATE GATEWAY_CONNECTIONS GATEWAY_STREAMS; do
        [[ ${!name} =~ ^[1-9][0-9]{0,6}$ ]] || { echo "$name: expected an integer from 1, not '${!name}'" >&2 && return 78; }
    done
    # Each takes memory whether it is used or not; a container may have a million descriptors.
    ((connections <= 32768)) || connections=32768
    line="s#@LISTEN@#$2#; s#@USER@#$3#; s#@FILES@#$4#; s#@CONNECTIONS@#$connections#; s#@RUN@#$5#; s#@TEMP@#$6#"
    line+="; s#@RATE@#$GATEWAY_RATE#; s#@BURST@#$((2 * GATEWAY_RATE))#; s#@CONNECTIONS_OF_ONE@#$GATEWAY_CONNECTIONS#"
    line+="; s#@STREAMS_OF_ONE@#$GATEWAY_STREAMS#"
    line+="; s#@TRUSTED_PROXIES@#$(addresses GATEWAY_TRUSTED_PROXIES 'set_real_ip_from ' ';')#"
    line+="; s#@ORIGINS@#$(origins)#"
    line+="; s#@SITE@#$7#; s#@SITE_SETTINGS@#$(dirname "$(realpath "$1")")/site.conf#"
    line+="; s#@UNLIMITED@#$(addresses GATEWAY_UNLIMITED '' ' 1;')#"
    for service in messaging catalog reservation payment; do
        line+=$'\n'$(upstream_lines "$service" "${service^^}" ' max_conns=1024;')
    done
    line+=$'\n'$(upstream_lines messaging MESSAGING_EVENTS ';')
    sed -e "$line" "$1"
}

# addresses NAME BEFORE AFTER: the addresses and networks of a variable, separated by commas, each between the two.
addresses() {
    local address list=()
    [[ ${!1} == none ]] && return
    IFS=', ' read -ra list <<<"${!1}"
    for address in "${list[@]}"; do
        [[ $address =~ ^[0-9a-fA-F.:]+(/[0-9]+)?$ ]] ||
            { echo "$1: expected 'none', or addresses and networks, not '$address'" >&2 && return 78; }
        printf '%s%s%s ' "$2" "$address" "$3"
    done
}

# origins: each of GATEWAY_ORIGINS as a line of a map. A browser writes an origin in one way: in lower case, with no path.
origins() {
    local origin list=()
    [[ $GATEWAY_ORIGINS == none ]] && return
    IFS=', ' read -ra list <<<"$GATEWAY_ORIGINS"
    for origin in "${list[@]}"; do
        [[ $origin =~ ^https?://[a-z0-9.-]+(:[0-9]+)?$ ]] ||
            { echo "GATEWAY_ORIGINS: expected 'none', or origins such as https://shop.example, not '$origin'" >&2 && return 78; }
        printf '"%s" "%s"; ' "$origin" "$origin"
    done
}

# upstream_lines SERVICE NAME END: the sed command that puts its servers in the place of @NAME@.
upstream_lines() {
    printf 's#^@%s@$#%s#\n' "$2" "$(upstream_servers "$1" | sed "s/^/        /; s/;\$/$3/; \$!s/\$/\\\\n/" | tr -d '\n')"
}
