/* TLS contexts with the vault's rules: see tls.h. Streams are in tls_stream.c, peers in tls_peer.c, what a front keeps of all that in tls_trust.c. */
#include "common/system/tls.h"

#include <limits.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

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
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF | SSL_SESS_CACHE_NO_INTERNAL);
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

/* A context that verifies clients refuses to resume without this; ours never resumes, and says so by itself. */
static bool name_sessions(SSL_CTX *c, struct err *e)
{
    static const unsigned char id[] = "coffre";

    return SSL_CTX_set_session_id_context(c, id, sizeof id - 1) == 1 || err_set_openssl(e, ERR_FATAL, "TLS: no session identifier");
}

/* ---- from memory ------------------------------------------------------------------------------------------------------------- */

/* The next certificate; NULL at the end, or with `e` when what comes is none. */
static X509 *next_certificate(BIO *in, const char *what, struct err *e)
{
    X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
    unsigned long error = ERR_peek_last_error();

    if (x == NULL && !(ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE))
        err_set_openssl(e, ERR_INPUT, "%s: what follows is no certificate", what);
    ERR_clear_error();
    return x;
}

/* Own certificate, then its chain. The context has references of its own. */
static bool take_chain(SSL_CTX *c, BIO *in, struct err *e)
{
    struct err bad = {0};
    unsigned count = 0;
    bool ok = true;
    X509 *x;

    while (ok && (x = next_certificate(in, "server certificate", &bad)) != NULL) {
        ok = (count++ == 0 ? SSL_CTX_use_certificate(c, x) : (int)SSL_CTX_add1_chain_cert(c, x)) == 1;
        if (!ok)
            err_set_openssl(e, ERR_INPUT, "server certificate %u of its chain cannot be used", count - 1);
        X509_free(x);
    }
    if (ok && bad.code != ERR_NONE)
        return err_set(e, bad.code, "%s", bad.text);
    return ok && (count != 0 || err_set(e, ERR_INPUT, "no server certificate"));
}

static bool name_once(STACK_OF(X509_NAME) *names, X509 *authority)
{
    X509_NAME *name = X509_get_subject_name(authority), *own;

    for (int i = 0; i < sk_X509_NAME_num(names); i++)
        if (X509_NAME_cmp(sk_X509_NAME_value(names, i), name) == 0)
            return true;
    own = X509_NAME_dup(name);
    if (own != NULL && sk_X509_NAME_push(names, own) > 0)
        return true;
    X509_NAME_free(own);
    return false;
}

/* Anchors, and their names for the CertificateRequest (RFC 8446 4.2.4): clients choose their certificate by it. */
static bool take_anchors(SSL_CTX *c, BIO *in, struct err *e)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    X509_STORE *store = SSL_CTX_get_cert_store(c);
    struct err bad = {0};
    bool ok = names != NULL;
    X509 *x;

    while (ok && (x = next_certificate(in, "authorities", &bad)) != NULL) {
        ok = X509_STORE_add_cert(store, x) == 1 && name_once(names, x);
        X509_free(x);
    }
    if (!ok)
        err_set_openssl(e, ERR_INPUT, "authorities cannot be used");
    else if (bad.code != ERR_NONE)
        ok = err_set(e, bad.code, "%s", bad.text);
    else if (sk_X509_NAME_num(names) == 0)
        ok = err_set(e, ERR_INPUT, "no authority's certificate");
    if (ok)
        SSL_CTX_set_client_CA_list(c, names); /* takes it over */
    else
        sk_X509_NAME_pop_free(names, X509_NAME_free);
    return ok;
}

static bool with_bytes(SSL_CTX *c, struct slice pem, bool (*take)(SSL_CTX *, BIO *, struct err *), struct err *e)
{
    BIO *in = pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.len == 0 ? (const void *)"" : pem.at, (int)pem.len);
    bool ok = in != NULL ? take(c, in, e) : err_set(e, ERR_INPUT, "%zu bytes of certificates", pem.len);

    BIO_free(in);
    return ok;
}

SSL_CTX *tls_server_make(const struct tls_server_parts *p, struct err *e)
{
    SSL_CTX *c = new_context(TLS_server_method(), e);
    bool required = p->client == TLS_CLIENT_REQUIRED;

    if (c == NULL)
        return NULL;
    ERR_clear_error();
    if (!name_sessions(c, e) || !with_bytes(c, p->chain, take_chain, e) || !with_bytes(c, p->anchors, take_anchors, e))
        goto failed;
    if (SSL_CTX_use_PrivateKey(c, p->key) != 1) {
        err_set_openssl(e, ERR_INPUT, "the private key does not fit the server certificate");
        goto failed;
    }
    SSL_CTX_set_verify_depth(c, (int)(p->depth > TLS_CHAIN_MAX ? TLS_CHAIN_MAX : p->depth));
    SSL_CTX_set_max_cert_list(c, TLS_CHAIN_BYTES); /* else 100 KiB, of anybody */
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       required ? tls_verify_required : tls_verify_reported);
    return c;
failed:
    SSL_CTX_free(c);
    return NULL;
}

bool tls_prepare(struct err *e)
{
    uint8_t random[1];
    SSL_CTX *c;
    EVP_MD *digest;

    if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1 ||
        RAND_bytes(random, sizeof random) != 1 || RAND_priv_bytes(random, sizeof random) != 1)
        return err_set_openssl(e, ERR_FATAL, "TLS: the library cannot be used");
    c = new_context(TLS_server_method(), e);
    digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_free(digest);
    SSL_CTX_free(c);
    return c != NULL;
}

/* ---- clients, and checks of files ------------------------------------------------------------------------------------------ */

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
