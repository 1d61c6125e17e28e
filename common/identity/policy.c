/*
 * What each profile asks of certificates: see policy.h. Bundles are the operator's own files, and are checked all the same: a policy that nothing can
 * satisfy, or anything, is an error of the configuration. Messages begin with the key or the file, so that settings_locate() can add the line.
 */
#include "common/identity/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/identity/identity.h"
#include "common/identity/pkix.h"

static const char *const profile_keys[] = {[ROSTER_DEPOSITOR] = "profiles.depositor", [ROSTER_READER] = "profiles.reader",
                                           [ROSTER_TECHNICAL] = "profiles.technical", [ROSTER_FUNCTIONAL] = "profiles.functional"};

const char *policy_key(enum roster_profile profile)
{
    return profile_keys[profile];
}

/* ---- certificates from files ---- */

bool policy_read_file(const char *path, size_t most, struct buf *out, struct err *e)
{
    /* Not blocking: the name may be a pipe's. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    ssize_t n = 1;

    if (fd < 0)
        return err_set_errno(e, ERR_INPUT, "%s", path);
    buf_init(out, most + 1);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err_set(e, ERR_INPUT, "%s: not a file", path);
    else if ((uint64_t)st.st_size > most)
        err_set(e, ERR_INPUT, "%s: %lld bytes, at most %zu", path, (long long)st.st_size, most);
    else
        while (n != 0) {
            size_t room = out->max - out->len < 65536 ? out->max - out->len : 65536;
            uint8_t *at = buf_reserve(out, room, NULL);

            n = room == 0 || at == NULL ? -1 : read(fd, at, room);
            if (n < 0 && room != 0 && errno == EINTR)
                continue;
            if (n < 0) {
                err_set(e, ERR_INPUT, "%s: %s", path, room == 0 ? "it grows" : strerror(errno));
                break;
            }
            buf_commit(out, (size_t)n);
        }
    close(fd);
    if (n == 0)
        return true;
    buf_free(out);
    return false;
}

void policy_certificates_free(STACK_OF(X509) *all)
{
    sk_X509_pop_free(all, X509_free);
}

/* Reads the next certificate. False at the end, or when it cannot be read (ERR_INPUT). */
static bool next_certificate(BIO *in, X509 **x, const char *what, struct err *e)
{
    *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
    if (*x != NULL)
        return true;
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        err_set_openssl(e, ERR_INPUT, "%s: a certificate that cannot be read", what);
    ERR_clear_error();
    return false;
}

STACK_OF(X509) *policy_certificates(struct slice pem, const char *what, struct err *e)
{
    BIO *in = BIO_new_mem_buf(pem.at, (int)pem.len);
    STACK_OF(X509) *all = sk_X509_new_null();
    struct err found = {0};
    X509 *x;

    while (in != NULL && all != NULL && next_certificate(in, &x, what, &found))
        if (sk_X509_push(all, x) <= 0) {
            X509_free(x);
            err_set(&found, ERR_FATAL, "%s: no memory", what);
            break;
        }
    BIO_free(in);
    if (found.code == ERR_NONE && sk_X509_num(all) > 0)
        return all;
    policy_certificates_free(all);
    if (found.code != ERR_NONE)
        err_set(e, found.code, "%s", found.text);
    else
        err_set(e, ERR_INPUT, "%s: no certificate", what);
    return NULL;
}

STACK_OF(X509) *policy_load_certificates(const char *path, struct err *e)
{
    STACK_OF(X509) *all = NULL;
    struct buf pem;

    if (!policy_read_file(path, IDENTITY_PEM_MAX, &pem, e))
        return NULL;
    all = policy_certificates(buf_slice(&pem), path, e);
    buf_free(&pem);
    return all;
}

bool policy_put_pem(struct buf *out, X509 *x, struct err *e)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *at = NULL;
    bool ok = text != NULL && PEM_write_bio_X509(text, x) == 1;

    if (ok) {
        long len = BIO_get_mem_data(text, &at);

        ok = buf_add(out, at, (size_t)len, e);
    } else
        err_set_openssl(e, ERR_FATAL, "certificate as PEM");
    BIO_free(text);
    return ok;
}

/* ---- one profile ---- */

static bool parse_revocation(const char *text, enum revocation_policy *revocation, struct err *e)
{
    static const char *const names[] = {[REVOCATION_NOT_CHECKED] = "none", [REVOCATION_BY_CRL] = "crl", [REVOCATION_BY_OCSP] = "ocsp",
                                        [REVOCATION_BY_EITHER] = "either", [REVOCATION_BY_BOTH] = "both"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *revocation = (enum revocation_policy)i;
            return true;
        }
    return err_set(e, ERR_INPUT, "\"%s\" is none of none, crl, ocsp, either, both", text);
}

static bool add_digest(const char *word, size_t len, unsigned *digests)
{
    static const struct {
        const char *name;
        enum policy_digest bit;
    } known[] = {{"sha256", POLICY_SHA256}, {"sha384", POLICY_SHA384}, {"sha512", POLICY_SHA512}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_is(slice_of(word, len), known[i].name)) {
            *digests |= known[i].bit;
            return true;
        }
    return false;
}

static bool parse_digests(const char *text, unsigned *digests, struct err *e)
{
    *digests = 0;
    for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");

        if (!add_digest(text, len, digests))
            return err_set(e, ERR_INPUT, "\"%.*s\" is none of sha256, sha384, sha512", (int)len, text);
        text += len;
    }
    return *digests != 0 || err_set(e, ERR_INPUT, "no digest is allowed");
}

bool policy_is_url(const char *text)
{
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : 7;

    return identity_url_valid(slice_text(text)) && strcspn(text + scheme, "/?#") != 0;
}

static bool parse_rules(struct identity_policy *p, const struct settings_profile *s, const char *key, struct err *e)
{
    p->depth = (unsigned)s->depth;
    p->rsa_bits = (unsigned)s->rsa_bits;
    p->ec_bits = (unsigned)s->ec_bits;
    if (!parse_revocation(s->revocation, &p->revocation, e))
        return err_prefix(e, "%s.revocation", key);
    if (!parse_digests(s->digests, &p->digests, e))
        return err_prefix(e, "%s.digests", key);
    if (!allow_parse(&p->allow, &s->allow, e))
        return err_prefix(e, "%s.allow", key);
    if (*s->ocsp != '\0' && (!policy_is_url(s->ocsp) || strlen(s->ocsp) >= OCSP_URL_MAX))
        return err_set(e, ERR_INPUT, "%s.ocsp: \"%s\" is not a http: or https: URL", key, s->ocsp);
    p->responder = mem_strdup(s->ocsp);
    return true;
}

/* A bundle names authorities, and nobody else: a leaf in it would be trusted as what it is not. */
static bool add_authority(struct identity_policy *p, X509 *x, const char *path, bool *anchored, struct err *e)
{
    char name[PKIX_NAME_TEXT];

    if (X509_check_ca(x) != 1)
        return err_set(e, ERR_INPUT, "%s: %s is no authority's (RFC 5280 4.2.1.9: basic constraints CA:TRUE)", path,
                       pkix_name_text(name, X509_get_subject_name(x)));
    if ((X509_get_extension_flags(x) & EXFLAG_SS) != 0)
        *anchored = true;
    if (X509_STORE_add_cert(p->anchors, x) != 1)
        return err_set_openssl(e, ERR_INPUT, "%s", path);
    return true;
}

static bool load_bundle(struct identity_policy *p, const char *path, struct err *e)
{
    bool anchored = false;

    p->authorities = policy_load_certificates(path, e);
    p->anchors = X509_STORE_new();
    if (p->authorities == NULL || p->anchors == NULL)
        return err_set(e, ERR_FATAL, "%s: no store", path);
    for (int i = 0; i < sk_X509_num(p->authorities); i++)
        if (!add_authority(p, sk_X509_value(p->authorities, i), path, &anchored, e))
            return false;
    return anchored || err_set(e, ERR_INPUT, "%s: no self-signed authority in it, so no chain can end there", path);
}

/* "": the authorities of the operator, or of the regulator, whose holders these are. */
static const char *bundle_of(const struct settings *s, enum roster_profile profile)
{
    if (*s->profiles[profile].ca != '\0')
        return s->profiles[profile].ca;
    return profile == ROSTER_DEPOSITOR || profile == ROSTER_TECHNICAL ? s->operator_pki.ca : s->regulator.ca;
}

static bool load_profile(struct identity_policy *p, const struct settings *s, unsigned offered, enum roster_profile profile, struct err *e)
{
    const char *bundle = bundle_of(s, profile);

    p->profile = profile;
    if (!parse_rules(p, &s->profiles[profile], profile_keys[profile], e))
        return false;
    if ((offered & 1u << profile) == 0)
        return true;
    /* An exporter need not know the operator's authorities: it has no technical administrators then. */
    if (*bundle == '\0' && profile == ROSTER_TECHNICAL)
        return true;
    if (*bundle == '\0')
        return err_set(e, ERR_INPUT, "%s.ca: no authorities", profile_keys[profile]);
    p->offered = true;
    return load_bundle(p, bundle, e);
}

/* ---- all of them ---- */

static bool among(STACK_OF(X509) *all, X509 *x)
{
    for (int i = 0; i < sk_X509_num(all); i++)
        if (X509_cmp(sk_X509_value(all, i), x) == 0)
            return true;
    return false;
}

/* True when it was not there before. */
static bool add_once(STACK_OF(X509) *all, X509 *x)
{
    if (among(all, x) || X509_up_ref(x) != 1)
        return false;
    if (sk_X509_push(all, x) > 0)
        return true;
    X509_free(x);
    return false;
}

static bool gather(struct identity_policies *all, const struct identity_policy *p, struct err *e)
{
    for (int i = 0; i < sk_X509_num(p->authorities); i++) {
        X509 *x = sk_X509_value(p->authorities, i);

        if (!add_once(all->authorities, x))
            continue;
        if (!policy_put_pem(&all->anchors, x, e))
            return err_prefix(e, "%s.ca", profile_keys[p->profile]);
    }
    return true;
}

static void gather_issuers(struct identity_policies *all, const char *bundle)
{
    STACK_OF(X509) *found = *bundle == '\0' ? NULL : policy_load_certificates(bundle, NULL);

    for (int i = 0; found != NULL && i < sk_X509_num(found); i++)
        (void)add_once(all->issuers, sk_X509_value(found, i));
    policy_certificates_free(found);
}

struct identity_policies *identity_policies_load(const struct settings *s, unsigned offered, struct err *e)
{
    struct identity_policies *all = mem_zalloc(1, sizeof *all);
    bool ok;

    buf_init(&all->anchors, IDENTITY_PEM_MAX);
    all->authorities = sk_X509_new_null();
    all->issuers = sk_X509_new_null();
    ok = (all->authorities != NULL && all->issuers != NULL) || err_set(e, ERR_FATAL, "no memory for authorities");
    for (unsigned i = ROSTER_DEPOSITOR; ok && i <= ROSTER_FUNCTIONAL; i++)
        ok = load_profile(&all->of[i], s, offered, (enum roster_profile)i, e) && (!all->of[i].offered || gather(all, &all->of[i], e));
    for (unsigned i = ROSTER_DEPOSITOR; ok && i <= ROSTER_FUNCTIONAL; i++)
        gather_issuers(all, bundle_of(s, (enum roster_profile)i));
    if (ok)
        return all;
    identity_policies_free(all);
    return NULL;
}

void identity_policies_free(struct identity_policies *p)
{
    if (p == NULL)
        return;
    for (unsigned i = 0; i < sizeof p->of / sizeof *p->of; i++) {
        X509_STORE_free(p->of[i].anchors);
        policy_certificates_free(p->of[i].authorities);
        free(p->of[i].responder);
    }
    policy_certificates_free(p->authorities);
    policy_certificates_free(p->issuers);
    buf_free(&p->anchors);
    free(p);
}
