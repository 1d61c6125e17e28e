/* TLS contexts with the vault's rules: see tls.h. Streams are in tls_stream.c, peers in tls_peer.c. */
#include "common/system/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/system/remote_key.h"
#include "common/system/tls_internal.h"

/* Forward secrecy and AEAD only, in TLS 1.2 (RFC 9325 4.2); TLS 1.3 has nothing else. */
static const char ciphers_tls12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

static SSL_CTX *new_context(const SSL_METHOD *method, struct err *e)
{
    SSL_CTX *c = SSL_CTX_new(method);

    if (c == NULL || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(c, ciphers_tls12) != 1 || SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384") != 1) {
        err_set_openssl(e, ERR_FATAL, "TLS: no context");
        SSL_CTX_free(c);
        return NULL;
    }
    SSL_CTX_set_security_level(c, 2);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF |
                               SSL_OP_CLEANSE_PLAINTEXT /* events do not linger in the library's buffers */);
    SSL_CTX_set_num_tickets(c, 0);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify_depth(c, 5);
    /* One read() brings several records; the buffer is given back while a connection is silent. */
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_default_read_buffer_len(c, TLS_READ_BUFFER);
    return c;
}

static bool load_certificate(SSL_CTX *c, const char *path, struct err *e)
{
    if (SSL_CTX_use_certificate_chain_file(c, path) != 1)
        return err_set_openssl(e, ERR_INPUT, "%s: no usable certificate", path);
    return true;
}

static bool load_key(SSL_CTX *c, const char *path, struct err *e)
{
    if (SSL_CTX_use_PrivateKey_file(c, path, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(c) != 1)
        return err_set_openssl(e, ERR_INPUT, "%s: no private key that fits the certificate", path);
    return true;
}

static bool load_bundle(SSL_CTX *c, const char *path, struct err *e)
{
    if (SSL_CTX_load_verify_file(c, path) != 1)
        return err_set_openssl(e, ERR_INPUT, "%s: no CA certificate", path);
    return true;
}

static bool load_remote(SSL_CTX *c, struct remote_key *k, struct err *e)
{
    if (SSL_CTX_use_PrivateKey(c, remote_key_pkey(k)) != 1)
        return err_set_openssl(e, ERR_INPUT, "the private key does not fit the certificate");
    return true;
}

static bool expect_clients(SSL_CTX *c, const struct tls_server_options *o, struct err *e)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->client_ca);

    if (names == NULL)
        return err_set_openssl(e, ERR_INPUT, "%s: no CA certificate", o->client_ca);
    SSL_CTX_set_client_CA_list(c, names);
    if (o->client == TLS_CLIENT_REQUIRED)
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_verify_required);
    else
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER, tls_verify_reported);
    return true;
}

SSL_CTX *tls_server_context(const struct tls_server_options *o, struct err *e)
{
    static const unsigned char id[] = "coffre";
    SSL_CTX *c = new_context(TLS_server_method(), e);

    if (c == NULL)
        return NULL;
    if (SSL_CTX_set_session_id_context(c, id, sizeof id - 1) != 1) {
        err_set_openssl(e, ERR_FATAL, "TLS: no session identifier");
        goto failed;
    }
    if (!load_certificate(c, o->certificate, e))
        goto failed;
    if (!(o->remote != NULL ? load_remote(c, o->remote, e) : load_key(c, o->key, e)))
        goto failed;
    if (!load_bundle(c, o->client_ca, e) || !expect_clients(c, o, e))
        goto failed;
    return c;
failed:
    SSL_CTX_free(c);
    return NULL;
}

SSL_CTX *tls_client_context(const struct tls_client_options *o, struct err *e)
{
    SSL_CTX *c = new_context(TLS_client_method(), e);

    if (c == NULL)
        return NULL;
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    if (load_bundle(c, o->ca, e) && (o->certificate == NULL || load_certificate(c, o->certificate, e)) &&
        (o->key == NULL || load_key(c, o->key, e)))
        return c;
    SSL_CTX_free(c);
    return NULL;
}

bool tls_check_pair(const char *certificate, const char *key, struct err *e)
{
    SSL_CTX *c = new_context(TLS_server_method(), e);
    bool ok = c != NULL && load_certificate(c, certificate, e) && load_key(c, key, e);

    SSL_CTX_free(c);
    return ok;
}

bool tls_check_bundle(const char *path, struct err *e)
{
    SSL_CTX *c = new_context(TLS_client_method(), e);
    bool ok = c != NULL && load_bundle(c, path, e);

    SSL_CTX_free(c);
    return ok;
}
