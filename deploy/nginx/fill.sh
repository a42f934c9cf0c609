# shellcheck shell=bash
# Fills in the gateway's settings, deploy/nginx/gateway.conf, for the single machine as for a container.

# fill_gateway TEMPLATE ADDRESS:PORT USER FILES RUN TEMP: writes the settings to standard output. USER is nginx's `user`
# directive or nothing, FILES how many a worker may open, RUN and TEMP folders. Who sources this defines
# `upstream_servers SERVICE`: one `server …;` a line.
fill_gateway() {
    local service line connections=$(($4 - 128))
    # Each takes memory whether it is used or not; a container may have a million descriptors.
    ((connections <= 32768)) || connections=32768
    line="s#@LISTEN@#$2#; s#@USER@#$3#; s#@FILES@#$4#; s#@CONNECTIONS@#$connections#; s#@RUN@#$5#; s#@TEMP@#$6#"
    for service in messaging catalog reservation payment; do
        line+=$'\n'$(upstream_lines "$service" "${service^^}" ' max_conns=1024;')
    done
    line+=$'\n'$(upstream_lines messaging MESSAGING_EVENTS ';')
    sed -e "$line" "$1"
}

# upstream_lines SERVICE NAME END: the sed command that puts its servers in the place of @NAME@.
upstream_lines() {
    printf 's#^@%s@$#%s#\n' "$2" "$(upstream_servers "$1" | sed "s/^/        /; s/;\$/$3/; \$!s/\$/\\\\n/" | tr -d '\n')"
}
