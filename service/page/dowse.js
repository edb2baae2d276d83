// @ts-check
/**
 * JavaScript client of Dowse: one file, an ES module without dependencies, for browsers, Node 18, Deno and Bun.
 *
 *     import { Dowse } from "./dowse.js"; // or from a service: "http://localhost:8000/page/dowse.js"
 *     const dowse = new Dowse("http://localhost:8000", { key: "KEY" });
 *     const { results } = await dowse.search("a quiet house", { top_k: 3, filter: { must: [{ field: "price", lt: 120 }] } });
 *
 * Methods take what the API takes; `/docs` of the service describes it. The search page itself uses this file.
 */

/** @typedef {Record<string, any>} Fields fields of a request or an answer, as the API has them */
/** @typedef {{ field: string, eq?: string | number | boolean, in?: (string | number | boolean)[], gte?: string | number, gt?: string | number, lte?: string | number, lt?: string | number, exists?: boolean, prefix?: string }} Condition */
/** @typedef {{ latitude: string, longitude: string, within: { lat: number, lon: number, km: number } }} Within */
/** @typedef {{ must?: (Condition | Within | Filter)[], should?: (Condition | Within | Filter)[], must_not?: (Condition | Within | Filter)[] }} Filter */
/** @typedef {{ top_k?: number, offset?: number, mode?: "hybrid" | "dense" | "lexical", filter?: Filter, fields?: string[], highlight?: boolean, explain?: boolean, diversity?: number, group_by?: string, group_size?: number, min_score?: number, facets?: Fields[], rerank?: boolean | Fields, fusion?: Fields } & Fields} Search */
/** @typedef {{ id: string, rank: number, score: number, title: string | null, text: string, metadata: Fields } & Fields} Result */
/** @typedef {{ query: string, results: Result[], count: number, offset: number, has_more: boolean, matches?: number, facets?: Record<string, Fields> } & Fields} Found */
/** @typedef {{ id: string, title: string | null, text: string, metadata: Fields }} Document */
/** @typedef {{ id: string, text: string, title?: string | null, metadata?: Fields }} NewDocument */
/** @typedef {{ signal?: AbortSignal }} Call what every method takes last */
/** @typedef {{ body?: unknown, method?: string, as?: "json" | "page", signal?: AbortSignal }} Request */

const ACCEPTED = { json: "application/json", page: "text/html, application/json;q=0.9, */*;q=0.8" };
const PATIENCE = 5; // seconds to the next try where the service is busy and does not say how long
const LONGEST = 30; // seconds; a longer wait is left to the caller

/** What the service refused, or that it did not answer: then `status` is undefined. */
export class Problem extends Error {
  /** @param {Fields} fields of the problem, as RFC 9457 and the service name them */
  constructor(fields) {
    super(fields.detail);
    this.name = "Problem";
    /** @type {string | undefined} `urn:dowse:problem:` and one word, which never changes */
    this.type = undefined;
    /** @type {string} */
    this.title = "";
    /** @type {number | undefined} HTTP status */
    this.status = undefined;
    /** @type {string} what went wrong, and what to do about it */
    this.detail = "";
    /** @type {string | null | undefined} as in the service's log */
    this.request_id = undefined;
    /** @type {{ field: string, message: string }[]} the refused fields of the request */
    this.errors = [];
    /** @type {number | null} seconds after which asking again makes sense */
    this.retry = null;
    Object.assign(this, fields);
  }
}

/** A client of one service. */
export class Dowse {
  /**
   * @param {string} [url] of the service; "" for the page's own
   * @param {{ key?: string | null, retries?: number, parse?: (text: string) => any, stringify?: (value: any) => string, fetch?: typeof globalThis.fetch }} [options]
   *   `key`: API key. `retries`: how often a request is sent again that the service was too busy for. `parse` and
   *   `stringify`: in place of JSON's, for whole numbers beyond 2^53. `fetch`: in place of the global one.
   */
  constructor(url = "", { key = null, retries = 2, parse = JSON.parse, stringify = JSON.stringify, fetch = (...given) => globalThis.fetch(...given) } = {}) {
    this.url = url.replace(/\/+$/, "");
    this._key = key;
    this._retries = retries;
    this._parse = parse;
    this._stringify = stringify;
    this._fetch = fetch;
  }

  /** @param {string} query @param {Search} [search] @param {Call} [call] @returns {Promise<Found>} the best documents */
  search(query, search = {}, call = {}) {
    return this.request("/search", { body: { query, ...search }, ...call });
  }

  /** @param {(Search & { query: string })[]} searches @param {Call} [call] @returns {Promise<{ responses: Found[] } & Fields>} an answer for each */
  searchMany(searches, call = {}) {
    return this.request("/search/batch", { body: { searches }, ...call });
  }

  /** @param {Fields} examples `text`, `ids`, `negative_ids`, … @param {Call} [call] @returns {Promise<Fields>} what resembles them */
  similar(examples, call = {}) {
    return this.request("/similar", { body: examples, ...call });
  }

  /** @param {string} id @param {Call} [call] @returns {Promise<Document & Fields>} one whole document */
  async document(id, call = {}) {
    if (id !== "." && id !== "..") return this.request(`/documents/${encodeURIComponent(id)}`, call);
    const { documents, index } = await this.fetchDocuments({ ids: [id] }, call); // in a path it would be a step up
    if (documents.length) return { ...documents[0], index };
    throw new Problem({ title: "Not found", status: 404, type: "urn:dowse:problem:not-found", detail: `The index holds no document '${id}'` });
  }

  /**
   * @param {{ ids?: string[], filter?: Filter, after?: string, limit?: number }} [which] ids, or a filter and where to go on
   * @param {Call} [call]
   * @returns {Promise<{ documents: Document[], matches: number, next: string | null } & Fields>} whole documents
   */
  fetchDocuments(which = {}, call = {}) {
    return this.request("/documents/fetch", { body: which, ...call });
  }

  /**
   * All documents that pass a filter, in the order of their ids, read page by page.
   * @param {Filter} [filter] @param {Call} [call] @returns {AsyncGenerator<Document>}
   */
  async *documents(filter = {}, call = {}) {
    /** @type {{ after?: string }} */
    let place = {};
    for (;;) {
      const { documents, next } = await this.fetchDocuments({ filter, ...place }, call);
      yield* documents;
      if (next === null) return;
      place = { after: next };
    }
  }

  /** @param {NewDocument[]} documents up to 256 @param {Call} [call] @returns {Promise<Fields>} once they are on disk and found */
  putDocuments(documents, call = {}) {
    return this.request("/documents", { method: "PUT", body: { documents }, ...call });
  }

  /** @param {string[]} ids up to 256 @param {Call} [call] @returns {Promise<Fields>} how many there were */
  deleteDocuments(ids, call = {}) {
    const query = ids.map((id) => `id=${encodeURIComponent(id)}`).join("&");
    return this.request(`/documents?${query}`, { method: "DELETE", ...call });
  }

  /** @param {Filter} filter @param {Call} [call] @returns {Promise<{ deleted: number, remaining: number } & Fields>} */
  deleteByFilter(filter, call = {}) {
    return this.request("/documents/delete", { body: { filter }, ...call });
  }

  /** @param {string} query @param {string} document id @param {{ click: true } | { grade: number }} judgement @param {Call} [call] @returns {Promise<Fields>} */
  feedback(query, document, judgement, call = {}) {
    return this.request("/feedback", { body: { query, document, ...judgement }, ...call });
  }

  /** @param {string} query @param {string[]} documents texts @param {Fields} [options] `top_n`, … @param {Call} [call] @returns {Promise<{ results: { index: number, relevance_score: number }[] } & Fields>} */
  rerank(query, documents, options = {}, call = {}) {
    return this.request("/v1/rerank", { body: { query, documents, ...options }, ...call });
  }

  /** @param {Call} [call] @returns {Promise<Fields>} version, index and model */
  info(call = {}) {
    return this.request("/info", call);
  }

  /**
   * The answer to any request: as JSON, or as a page's { text, type }. With a body it is a POST unless `method` says otherwise.
   * @param {string} path @param {Request} [request] @returns {Promise<any>}
   * @throws {Problem}
   */
  async request(path, { body, method = body === undefined ? "GET" : "POST", as = "json", signal } = {}) {
    const headers = {
      Accept: ACCEPTED[as],
      ...(body !== undefined && { "Content-Type": "application/json" }),
      ...(this._key && { Authorization: `Bearer ${this._key}` }),
    };
    const options = { method, headers, signal, ...(body !== undefined && { body: this._stringify(body) }) };
    for (let attempt = 0; ; attempt++) {
      const response = await this._fetch(`${this.url}${path}`, options).catch(() => {
        throw new Problem({ title: "The service does not answer", detail: "Check that it is running and that you are online." });
      });
      const text = await response.text().catch(() => "");
      const type = response.headers.get("Content-Type") ?? "";
      const answer = response.ok && as === "page" ? { text, type } : this._parsed(text);
      if (response.ok && answer) return answer;
      const retry = [429, 503].includes(response.status) ? Number(response.headers.get("Retry-After")) || PATIENCE : null;
      if (retry !== null && retry <= LONGEST && attempt < this._retries && !signal?.aborted) {
        await new Promise((done) => setTimeout(done, retry * 1000));
        continue;
      }
      throw new Problem({
        title: `The service answered with status ${response.status}`,
        status: response.status,
        request_id: response.headers.get("X-Request-ID"),
        retry,
        ...answer,
      });
    }
  }

  /** @param {string} text @returns {any} its value; null where it is no JSON */
  _parsed(text) {
    try {
      return this._parse(text);
    } catch {
      return null;
    }
  }
}
