#!/bin/sh
# Makes the certificates beside it anew (needs openssl 3). Nobody trusts these CAs: their keys are
# thrown away. For tests only.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
FROM=20200101000000Z
UNTIL=21200101000000Z
HERE=IP:127.0.0.1,IP:::1,DNS:localhost

cat > "$work/openssl.cnf" <<END
[ca]
default_ca = plain
[plain]
database = $work/index
new_certs_dir = $work
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
END
touch "$work/index"

# sign NAME UNTIL EXTENSIONS SIGNER...: NAME.pem, for the key that is to be in $work/NAME.request
sign() {
    printf '%b' "$3" > "$work/extensions"
    name=$1 until=$2
    shift 3
    openssl ca -batch -notext -config "$work/openssl.cnf" -in "$work/$name.request" -out "$name.pem" \
        -startdate $FROM -enddate "$until" -extfile "$work/extensions" "$@" 2> "$work/log" ||
        { cat "$work/log"; exit 1; }
}

# make_request NAME KEY_FILE
make_request() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$2"
    openssl req -new -key "$2" -subj "/CN=$1" -out "$work/$1.request"
}

make_ca() {
    make_request "$1" "$work/$1.key"
    sign "$1" $UNTIL 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' \
        -selfsign -keyfile "$work/$1.key"
}

# make_cert NAME CA SUBJECT_ALT_NAMES USAGES UNTIL
make_cert() {
    make_request "$1" "$1.key"
    sign "$1" "$5" "subjectAltName=$3\nextendedKeyUsage=$4\n" -cert "$2.pem" -keyfile "$work/$2.key"
}

make_ca ca
make_ca other-ca
make_cert server ca $HERE serverAuth,clientAuth $UNTIL
make_cert renewed ca $HERE serverAuth,clientAuth $UNTIL
make_cert client ca DNS:client clientAuth $UNTIL
make_cert elsewhere ca DNS:elsewhere.example serverAuth,clientAuth $UNTIL
make_cert expired ca $HERE serverAuth,clientAuth 20200201000000Z
make_cert stranger other-ca $HERE serverAuth,clientAuth $UNTIL
openssl pkey -in server.key -aes256 -passout pass:secret -out locked.key
