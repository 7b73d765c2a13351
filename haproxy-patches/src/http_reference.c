/*
 * src/http_reference.c
 * Paths by which a response refers to a body, and locations which a body's response has.
 *
 * A reference is decoded once, by the server that has the body. HAProxy sends it on as
 * it is, but for unreserved characters, slashes and dot segments, and compares it with a
 * prefix twice: as it is, and as that server will read it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <haproxy/api.h>
#include <haproxy/chunk.h>
#include <haproxy/http_reference.h>
#include <haproxy/tools.h>
#include <haproxy/uri_normalizer.h>

/*
 * Paths
 */

/* Returns the character which the three at <p> encode, or -1 if these are no encoding. */
static int reference_decode_char(const char *p)
{
	const int high = hex2i(p[1]), low = hex2i(p[2]);

	return p[0] == '%' && high >= 0 && low >= 0 ? (high << 4) + low : -1;
}

/* Merges slashes of <path>, which is in <tmp>, and resolves "." and "..", using <area> of
 * <size> bytes, where the result <*out> is. Returns 1, or 0 if it climbs above the root or
 * is no absolute path.
 */
static int reference_resolve(struct ist path, struct buffer *tmp, char *area, size_t size, struct ist *out)
{
	struct ist merged = ist2(area, size);
	struct ist plain = ist2(tmp->area, tmp->size);

	if (uri_normalizer_path_merge_slashes(path, &merged) != URI_NORMALIZER_ERR_NONE ||
	    uri_normalizer_path_dot(merged, &plain) != URI_NORMALIZER_ERR_NONE)
		return 0;
	*out = ist2(area, size);
	if (uri_normalizer_path_dotdot(plain, 0, out) != URI_NORMALIZER_ERR_NONE)
		return 0;
	/* what is left of ".." would climb above the root */
	return out->len && *out->ptr == '/' && !istmatch(*out, ist("/../")) && !isteq(*out, ist("/.."));
}

/* Normalizes the reference <in>, a path with an optional query, into <*out>, using
 * <area> of <size> bytes. Returns 1, or 0 if it is no absolute path, climbs above
 * the root, contains characters which a URI cannot, or encoded ones which no name of a
 * body has (backslashes, controls).
 */
int http_reference_normalize(struct ist in, char *area, size_t size, struct ist *out)
{
	struct buffer *tmp = get_trash_chunk();
	struct ist path = iststop(in, '?');
	struct ist query = istadv(in, path.len);
	struct ist decoded = ist2(tmp->area, tmp->size);
	struct ist merged;
	size_t i;

	if (!in.len || *in.ptr != '/' || in.len + 1 > size || in.len > tmp->size)
		return 0;
	for (i = 0; i < in.len; i++) {
		unsigned char c = in.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '#' || c == '\\')
			return 0;
	}
	if (uri_normalizer_percent_decode_unreserved(path, 1, &decoded) != URI_NORMALIZER_ERR_NONE)
		return 0;
	for (i = 0; i + 2 < decoded.len; i++) {
		int c = reference_decode_char(decoded.ptr + i);

		if (c == '\\' || c == 0x7f || (c >= 0 && c < ' '))
			return 0;
	}
	if (!reference_resolve(decoded, tmp, area, size, &merged) || merged.len + query.len > size)
		return 0;
	/* the last step leaves its result at the end of the area */
	memmove(area, merged.ptr, merged.len);
	memcpy(area + merged.len, query.ptr, query.len);
	*out = ist2(area, merged.len + query.len);
	return 1;
}

/* Returns non-zero if <path>, with an optional query, begins with all segments of <prefix>. */
static int reference_begins_with(const struct ist path, const struct ist prefix)
{
	char next;

	if (!istmatch(path, prefix))
		return 0;
	if (path.len == prefix.len || prefix.ptr[prefix.len - 1] == '/')
		return 1;
	next = path.ptr[prefix.len];
	return next == '/' || next == '?';
}

/* Decodes <in>, a path without query, into <out>, and its backslashes to slashes, as what
 * reads it may. Returns 1, or 0 if there is no room.
 */
static int reference_decode(const struct ist in, struct buffer *out)
{
	size_t i;

	chunk_reset(out);
	if (in.len > out->size)
		return 0;
	for (i = 0; i < in.len; i++) {
		int c = i + 2 < in.len ? reference_decode_char(in.ptr + i) : -1;

		if (c < 0)
			c = in.ptr[i];
		else
			i += 2;
		out->area[out->data++] = c == '\\' ? '/' : c;
	}
	return 1;
}

/* Compares <path>, without query, with <prefix>, both decoded once. Returns 1 if it is the
 * prefix or below, 0 if it is not, or -1 if nobody can tell.
 */
static int reference_decoded_is_below(const struct ist path, const struct ist prefix)
{
	struct buffer *tmp = get_trash_chunk();
	struct buffer *area = alloc_trash_chunk();
	struct buffer *wanted = alloc_trash_chunk();
	struct ist resolved;
	int ret = -1;

	if (!area || !wanted || !reference_decode(prefix, wanted) || !reference_decode(path, tmp))
		goto leave;
	if (reference_resolve(ist2(tmp->area, tmp->data), tmp, area->area, area->size, &resolved))
		ret = reference_begins_with(resolved, ist2(wanted->area, wanted->data));
 leave:
	free_trash_chunk(wanted);
	free_trash_chunk(area);
	return ret;
}

/* Returns non-zero if <path>, normalized and with an optional query, is <prefix> or below,
 * and still is after one decoding.
 */
int http_reference_is_below(const struct ist path, const struct ist prefix)
{
	return reference_begins_with(path, prefix) && reference_decoded_is_below(iststop(path, '?'), prefix) > 0;
}

/*
 * Locations
 */

static int reference_is_slash(char c)
{
	return c == '/' || c == '\\'; /* to browsers */
}

/* Returns what is in <in> before the first of "/", "\", "?" and "#". */
static struct ist reference_authority(const struct ist in)
{
	size_t i;

	for (i = 0; i < in.len && !reference_is_slash(in.ptr[i]) && in.ptr[i] != '?' && in.ptr[i] != '#'; i++)
		;
	return ist2(in.ptr, i);
}

/* Returns the host of <authority>, without user, port and a dot at its end. */
static struct ist reference_host(struct ist authority)
{
	struct ist host, tail;

	while (istlen(tail = istfind(authority, '@')))
		authority = istnext(tail);
	host = iststop(authority, istmatch(authority, ist("[")) ? ']' : ':');
	if (host.len && host.ptr[host.len - 1] == '.')
		host.len--;
	return host;
}

/* Returns non-zero if <authority> is a host of <site>. */
static int reference_is_host(const struct http_reference_site *site, const struct ist authority)
{
	const struct ist host = reference_host(authority);
	size_t i;

	for (i = 0; i < sizeof(site->hosts) / sizeof(*site->hosts); i++) {
		if (istlen(site->hosts[i]) && isteqi(host, reference_host(site->hosts[i])))
			return 1;
	}
	return 0;
}

/* Returns non-zero if the path at the beginning of <in> is below the prefix of <site>, or
 * could be.
 */
static int reference_path_is_inside(const struct http_reference_site *site, const struct ist in)
{
	const struct ist path = iststop(iststop(in, '?'), '#');

	return path.len && reference_decoded_is_below(path, site->prefix) != 0;
}

/* Takes the scheme and its colon off <uri>, if it has one. Returns it, or IST_NULL. */
static struct ist reference_take_scheme(struct ist *uri)
{
	struct ist scheme = iststop(*uri, ':');
	size_t i;

	if (scheme.len == uri->len || !scheme.len || !isalpha((unsigned char)*scheme.ptr))
		return IST_NULL;
	for (i = 1; i < scheme.len; i++) {
		unsigned char c = scheme.ptr[i];

		if (!isalnum(c) && c != '+' && c != '-' && c != '.')
			return IST_NULL;
	}
	*uri = istadv(*uri, scheme.len + 1);
	return scheme;
}

/* Returns non-zero if URI reference <uri> (RFC 3986 4.1), written by <author>, is where
 * the body of <site> was fetched. <redirect>: the client goes there by itself, so that
 * nothing a node says of the body's own host or of paths is meant for it.
 */
static int reference_uri_is_inside(const struct http_reference_site *site, struct ist uri,
                                   enum http_reference_author author, int redirect)
{
	struct ist scheme, authority;
	size_t i;

	for (i = 0; i < uri.len; i++) {
		unsigned char c = uri.ptr[i];

		if (c <= ' ' || c == 0x7f)
			return 1; /* what readers make of it differs */
	}
	redirect = redirect && author == HTTP_REFERENCE_BY_NODE;
	scheme = reference_take_scheme(&uri);
	if (isttest(scheme) && !isteqi(scheme, ist("http")) && !isteqi(scheme, ist("https")))
		return 0;
	if (uri.len >= 2 && reference_is_slash(uri.ptr[0]) && reference_is_slash(uri.ptr[1])) {
		authority = reference_authority(istadv(uri, 2));
		if (redirect && reference_is_host(site, authority))
			return 1;
		return reference_path_is_inside(site, istadv(uri, 2 + authority.len));
	}
	if (isttest(scheme) || redirect)
		return 1;
	if (uri.len && reference_is_slash(*uri.ptr))
		return reference_path_is_inside(site, uri);
	return author == HTTP_REFERENCE_BY_NODE;
}

/* Advances <in> past all characters which are in <chars>. */
static struct ist reference_skip(struct ist in, const char *chars)
{
	while (in.len && strchr(chars, *in.ptr))
		in = istnext(in);
	return in;
}

/* Returns the URL of the "Refresh" value <value> as HTML reads it, "5; url=/path" or "5; /path",
 * or IST_NULL if it has none.
 */
static struct ist reference_of_refresh(struct ist value)
{
	struct ist url = reference_skip(reference_skip(value, " \t0123456789."), " \t;,");
	struct ist rest = reference_skip(istadv(url, 3), " \t");

	if (istmatchi(url, ist("url")) && istmatch(rest, ist("=")))
		url = reference_skip(istnext(rest), " \t");
	if (istmatch(url, ist("\"")) || istmatch(url, ist("'")))
		url = iststop(istnext(url), *url.ptr);
	while (url.len && strchr(" \t", url.ptr[url.len - 1]))
		url.len--;
	return url.len ? url : IST_NULL;
}

/* Returns non-zero if one of the targets of the "Link" value <value> (RFC 8288) is where the
 * body of <site> was fetched.
 */
static int reference_link_is_inside(const struct http_reference_site *site, struct ist value,
                                    enum http_reference_author author)
{
	while (istlen(value = istfind(value, '<'))) {
		struct ist target = iststop(istnext(value), '>');

		if (reference_uri_is_inside(site, target, author, 0))
			return 1;
		value = istadv(value, target.len + 1);
	}
	return 0;
}

/* Returns non-zero if field <name> with <value>, written by <author>, would lead the client
 * to where the body of <site> was fetched.
 */
int http_reference_leads_inside(const struct http_reference_site *site, const struct ist name, const struct ist value,
                                enum http_reference_author author)
{
	if (isteqi(name, ist("location")))
		return reference_uri_is_inside(site, value, author, 1);
	if (isteqi(name, ist("content-location")) || isteqi(name, ist("sourcemap")) || isteqi(name, ist("x-sourcemap")))
		return reference_uri_is_inside(site, value, author, 0);
	if (isteqi(name, ist("link")))
		return reference_link_is_inside(site, value, author);
	if (isteqi(name, ist("refresh"))) {
		const struct ist url = reference_of_refresh(value);

		return isttest(url) && reference_uri_is_inside(site, url, author, 1);
	}
	return 0;
}
