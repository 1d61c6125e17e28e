/*
 * The front's side of a private key that lives in the `keys` role: see remote_key.h. OpenSSL 3 keeps keys with methods
 * of their own ("foreign" keys) out of its providers, so RSA_METHOD and EC_KEY_METHOD still are the way to do this in 3.0.
 */
#define OPENSSL_SUPPRESS_DEPRECATED 1
#include "common/system/remote_key.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "common/values/log.h"
#include "common/values/wire.h"

enum { START_MS = 10000 };

struct remote_line {
    struct channel *channel;  /* owned; NULL: the role is away */
    uint32_t request;         /* number of the last one */
    int deadline_ms;
    bool answered;            /* the role has said something since it was linked */
};

struct remote_key {
    struct remote_line *line; /* borrowed */
    EVP_PKEY *pkey;           /* public part, our methods */
    uint8_t name[REMOTE_KEY_ID];
    bool refused;             /* the last answer was that the role would not sign */
    RSA_METHOD *rsa_method;
    EC_KEY_METHOD *ec_method;
};

/* The answer to `request` into `out`; its length, or 0. Answers to requests given up before are passed over. */
static size_t await_answer(struct remote_line *l, uint8_t *out, size_t max, struct err *e)
{
    struct channel_message m;

    for (;;) {
        enum channel_result r = channel_wait(l->channel, &m, l->deadline_ms, e);
        struct wire_reader in;
        struct slice signature;
        uint32_t request;
        uint8_t ok;

        if (r != CHANNEL_MESSAGE) {
            err_set(e, ERR_RETRY, "no answer within %d ms", l->deadline_ms);
            return 0;
        }
        if (m.fd >= 0 || m.type != REMOTE_KEY_SIGNED) {
            err_set(e, ERR_FATAL, "message %u makes no sense", m.type);
            return 0;
        }
        l->answered = true;
        in = wire_read(m.body);
        request = wire_get_u32(&in);
        ok = wire_get_u8(&in);
        signature = wire_get_bytes(&in);
        if (!wire_end(&in, "SIGNED", e))
            return 0;
        if (request != l->request)
            continue;
        if (ok != 1 || signature.len == 0 || signature.len > max) {
            err_set(e, ERR_DENIED, "the keys role refused");
            return 0;
        }
        memcpy(out, signature.at, signature.len);
        return signature.len;
    }
}

/* One private operation; 0 when it failed, which fails the handshake. */
static size_t ask(struct remote_key *k, enum remote_key_kind kind, struct slice input, uint8_t *out, size_t max)
{
    struct remote_line *l = k == NULL ? NULL : k->line;
    struct err e = {0};
    struct wire_writer w;
    struct buf b;
    size_t n = 0;

    if (l == NULL || l->channel == NULL) {
        log_warning("keys-away", "no handshake is possible: the keys role is away");
        return 0;
    }
    buf_init(&b, REMOTE_KEY_MESSAGE_MAX);
    w = wire_write(&b);
    wire_put_u32(&w, ++l->request);
    wire_put_fixed(&w, k->name, sizeof k->name);
    wire_put_u8(&w, (uint8_t)kind);
    wire_put_bytes(&w, input);
    if (wire_ok(&w, "SIGN", &e) && channel_send(l->channel, REMOTE_KEY_SIGN, buf_slice(&b), &e))
        n = await_answer(l, out, max, &e);
    k->refused = n == 0 && e.code == ERR_DENIED;
    if (n == 0) {
        log_warning("keys-failed", "the keys role did not sign: %s", e.text);
        /*
         * Whoever is late, gone or malformed is not asked again, or every handshake would hold its front for a whole
         * deadline: the front has the role started again, and the parent gives a new channel.
         */
        if (e.code != ERR_DENIED)
            remote_line_link(l, NULL);
    }
    buf_free(&b);
    return n;
}

/* EMSA-PKCS1-v1_5, RFC 8017 9.2: 00 01 FF … 00 DigestInfo. */
static bool is_pkcs1_block(struct slice block)
{
    size_t i = 2;

    if (block.at[0] != 0 || block.at[1] != 1)
        return false;
    while (i < block.len && block.at[i] == 0xff)
        i++;
    return i >= 10 && i < block.len && block.at[i] == 0 && block.len - i - 1 <= 19 + 64;
}

/* That, or EMSA-PSS, 9.1.1: first bit 0, last byte BC, and all between them as chance has it, 00 01 at the beginning too. Never a ciphertext to decrypt. */
bool remote_key_is_signature_block(struct slice block)
{
    if (block.len < 2)
        return false;
    return is_pkcs1_block(block) || ((block.at[0] & 0x80) == 0 && block.at[block.len - 1] == 0xbc);
}

/* TLS 1.2 PKCS#1 arrives unpadded here, TLS 1.3 PSS already padded (RSA_NO_PADDING): the keys role takes whole blocks only. */
static int rsa_private(int len, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
    struct remote_key *k = RSA_get_app_data(rsa);
    unsigned char block[REMOTE_KEY_INPUT_MAX];
    int size = RSA_size(rsa);
    size_t n;

    if (size <= 0 || size > (int)sizeof block || len < 0)
        return -1;
    if (padding == RSA_PKCS1_PADDING) {
        if (RSA_padding_add_PKCS1_type_1(block, size, from, len) != 1)
            return -1;
    } else if (padding == RSA_NO_PADDING && len == size) {
        memcpy(block, from, (size_t)len);
    } else {
        return -1;
    }
    n = ask(k, REMOTE_KEY_RSA, slice_of(block, (size_t)size), to, (size_t)size);
    return n == (size_t)size ? size : -1;
}

static int ec_sign(int type, const unsigned char *digest, int len, unsigned char *out, unsigned int *out_len,
                   const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key)
{
    struct remote_key *k = EC_KEY_get_ex_data(key, 0);
    size_t n;

    (void)type;
    (void)kinv;
    (void)r;
    if (len < 0)
        return 0;
    n = ask(k, REMOTE_KEY_ECDSA, slice_of(digest, (size_t)len), out, (size_t)ECDSA_size(key));
    *out_len = (unsigned)n;
    return n != 0;
}

static int ec_no_setup(EC_KEY *key, BN_CTX *ctx, BIGNUM **kinv, BIGNUM **r)
{
    (void)key;
    (void)ctx;
    (void)kinv;
    (void)r;
    return 0;
}

static ECDSA_SIG *ec_no_sign_sig(const unsigned char *digest, int len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key)
{
    (void)digest;
    (void)len;
    (void)kinv;
    (void)r;
    (void)key;
    return NULL;
}

static bool wrap_rsa(struct remote_key *k, EVP_PKEY *public_key)
{
    RSA *rsa = EVP_PKEY_get1_RSA(public_key), *own = rsa == NULL ? NULL : RSAPublicKey_dup(rsa);

    RSA_free(rsa);
    k->rsa_method = RSA_meth_dup(RSA_PKCS1_OpenSSL());
    k->pkey = EVP_PKEY_new();
    if (own != NULL && k->rsa_method != NULL && k->pkey != NULL && RSA_meth_set1_name(k->rsa_method, "keys role") == 1 &&
        RSA_meth_set_flags(k->rsa_method, RSA_FLAG_EXT_PKEY | RSA_METHOD_FLAG_NO_CHECK) == 1 &&
        RSA_meth_set_priv_enc(k->rsa_method, rsa_private) == 1 && RSA_set_method(own, k->rsa_method) == 1 &&
        RSA_set_app_data(own, k) == 1 && EVP_PKEY_assign_RSA(k->pkey, own) == 1)
        return true;
    RSA_free(own);
    return false;
}

static bool wrap_ec(struct remote_key *k, EVP_PKEY *public_key)
{
    EC_KEY *original = EVP_PKEY_get1_EC_KEY(public_key), *own = original == NULL ? NULL : EC_KEY_dup(original);

    EC_KEY_free(original);
    k->ec_method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    k->pkey = EVP_PKEY_new();
    if (own != NULL && k->ec_method != NULL && k->pkey != NULL) {
        EC_KEY_METHOD_set_sign(k->ec_method, ec_sign, ec_no_setup, ec_no_sign_sig);
        if (EC_KEY_set_method(own, k->ec_method) == 1 && EC_KEY_set_ex_data(own, 0, k) == 1 &&
            EVP_PKEY_assign_EC_KEY(k->pkey, own) == 1)
            return true;
    }
    EC_KEY_free(own);
    return false;
}

/* ---- the line ---------------------------------------------------------------------------------------------------------------- */

struct remote_line *remote_line_new(void)
{
    struct remote_line *l = mem_zalloc(1, sizeof *l);

    l->deadline_ms = 2000;
    return l;
}

void remote_line_free(struct remote_line *l)
{
    if (l == NULL)
        return;
    channel_free(l->channel);
    free(l);
}

void remote_line_link(struct remote_line *l, struct channel *c)
{
    channel_free(l->channel);
    l->channel = c;
    l->answered = false;
}

void remote_line_set_deadline(struct remote_line *l, int deadline_ms)
{
    l->deadline_ms = deadline_ms;
}

bool remote_line_linked(const struct remote_line *l)
{
    return l->channel != NULL;
}

/* ---- keys ---------------------------------------------------------------------------------------------------------------------- */

bool remote_key_name(EVP_PKEY *key, uint8_t name[REMOTE_KEY_ID], struct err *e)
{
    uint8_t digest[EVP_MAX_MD_SIZE], *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    if (!ok)
        return err_set_openssl(e, ERR_INPUT, "the public key cannot be written");
    memcpy(name, digest, REMOTE_KEY_ID);
    return true;
}

static X509 *first_certificate(struct slice pem, struct err *e)
{
    BIO *in = pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.at, (int)pem.len);
    X509 *x = in == NULL ? NULL : PEM_read_bio_X509_AUX(in, NULL, NULL, NULL);

    BIO_free(in);
    if (x == NULL)
        err_set_openssl(e, ERR_INPUT, "no server certificate");
    return x;
}

static bool wrap(struct remote_key *k, EVP_PKEY *public_key, struct err *e)
{
    int type = public_key == NULL ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(public_key);

    if (type == EVP_PKEY_RSA && EVP_PKEY_get_size(public_key) > REMOTE_KEY_INPUT_MAX)
        return err_set(e, ERR_INPUT, "server certificate: an RSA key of %d bits", EVP_PKEY_get_bits(public_key));
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        return err_set(e, ERR_INPUT, "server certificate: the key is neither RSA nor EC");
    return (remote_key_name(public_key, k->name, e) && (type == EVP_PKEY_RSA ? wrap_rsa(k, public_key) : wrap_ec(k, public_key))) ||
           err_set_openssl(e, ERR_FATAL, "server certificate: the public key cannot be used");
}

struct remote_key *remote_key_new(struct remote_line *l, struct slice pem, struct err *e)
{
    X509 *x = first_certificate(pem, e);
    struct remote_key *k;

    if (x == NULL)
        return NULL;
    k = mem_zalloc(1, sizeof *k);
    k->line = l;
    if (!wrap(k, X509_get0_pubkey(x), e)) {
        remote_key_free(k);
        k = NULL;
    }
    X509_free(x);
    return k;
}

void remote_key_free(struct remote_key *k)
{
    if (k == NULL)
        return;
    EVP_PKEY_free(k->pkey);
    RSA_meth_free(k->rsa_method);
    if (k->ec_method != NULL) /* unlike its sisters, this one takes no NULL */
        EC_KEY_METHOD_free(k->ec_method);
    free(k);
}

bool remote_key_try(struct remote_key *k, struct err *e)
{
    static const uint8_t text[] = "coffre: is this key there?";
    uint8_t signature[REMOTE_KEY_INPUT_MAX];
    size_t len = sizeof signature;
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    int deadline_ms = k->line->deadline_ms;
    bool ok;

    if (!remote_line_linked(k->line)) {
        ok = err_set(e, ERR_RETRY, "the keys role is away");
    } else {
        k->refused = false;
        if (!k->line->answered && deadline_ms < START_MS) /* it may just be starting, as everything else is */
            k->line->deadline_ms = START_MS;
        ok = sign != NULL && verify != NULL && EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
             EVP_DigestSign(sign, signature, &len, text, sizeof text) == 1 &&
             EVP_DigestVerifyInit(verify, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
             EVP_DigestVerify(verify, signature, len, text, sizeof text) == 1;
        k->line->deadline_ms = deadline_ms;
        ERR_clear_error();
        if (!ok && k->refused)
            err_set(e, ERR_DENIED, "the keys role does not hold the certificate's key");
        else if (!ok)
            err_set(e, ERR_RETRY, "the keys role does not sign as it should");
    }
    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(verify);
    return ok;
}

EVP_PKEY *remote_key_pkey(const struct remote_key *k)
{
    return k->pkey;
}
