#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an operators' tool finds, one a line, without the words around it: tool.sh TOOL NAME TYPE. The tools
# ask the name servers of /etc/resolv.conf.
tool=$1 name=$2 type=$3
case $tool in
dig | kdig) "$tool" +short "$name" "$type" ;;
delv) delv -i +short "$name" "$type" ;; # without a chain of trust: nothing here is signed
getent) getent "ahosts$([ "$type" = A ] && echo v4 || echo v6)" "$name" | awk '!/^::ffff:/ {print $1}' ;; # with those that AI_V4MAPPED makes
host) host -t "$type" "$name" | sed -nE 's/.* has (IPv6 )?(SRV record|address) //p' ;;
nslookup) nslookup -type="$type" "$name" | awk '/^Name:/ {on = 1} on && /^Address:/ {print $2} /service = / {print $4, $5, $6, $7}' ;;
resolvectl) resolvectl query --legend=no --type="$type" "$name" | awk -v t="$type" '$3 == t {$1 = $2 = $3 = ""; sub(/^ */, ""); sub(/ *--.*/, ""); print}' ;;
esac | if [ "$type" = SRV ]; then cat; else grep -v '\.$'; fi # aliases on the way
