package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/activedataflow/adf/fault"
)

var errTimeout = errors.New("no answer in time")

func (c *Client) failure(q call, code string, retry fault.Retry, err error, fix string) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: code, Connector: "flink", Doing: q.doing, Retry: retry, Fix: fix, Err: err}}
}

// unreachable classifies what went wrong before there was an answer.
func (c *Client) unreachable(ctx context.Context, q call, err error) error {
	var (
		sent    *url.Error
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		alert   tls.AlertError
		header  tls.RecordHeaderError
	)
	if errors.As(err, &sent) {
		err = sent.Err
	}
	cause := fmt.Errorf("%s: %w", c.Address(), err)
	switch {
	case errors.Is(context.Cause(ctx), errTimeout):
		return c.failure(q, "flink.timeout", fault.RetryLater, fmt.Errorf("%s: %w", c.Address(), errTimeout), "look whether the JobManager is busy or stuck")
	case ctx.Err() != nil:
		return c.failure(q, "flink.ended", fault.RetryLater, ctx.Err(), "")
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		return c.failure(q, "flink.certificate", fault.RetryNever, cause, "give the certificates to trust by --flink-ca, and the name that the certificate has")
	case errors.As(err, &alert):
		return c.failure(q, "flink.certificate", fault.RetryNever, cause, "the server does not take the client's certificate: give one by --flink-cert and --flink-key")
	case errors.As(err, &header):
		return c.failure(q, "flink.certificate", fault.RetryNever, cause, "the server does not speak TLS: its address begins with http://")
	}
	return c.failure(q, "flink.unreachable", fault.RetryLater, cause, "check the address and that a cluster runs there; adf flink up starts one on this machine")
}

// refusal classifies an answer that is none.
func (c *Client) refusal(q call, resp *http.Response, body []byte) error {
	said := said(body)
	if said == "" {
		said = resp.Status
	}
	err := errors.New(said)
	switch code := resp.StatusCode; {
	case code < 400:
		to := "elsewhere"
		if u, err := resp.Location(); err == nil {
			to = "to " + (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		}
		return c.failure(q, "flink.redirect", fault.RetryNever, fmt.Errorf("%s sends on %s", c.Address(), to),
			"give the address where Flink answers itself; a page to log in at wants --flink-header")
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		return c.failure(q, "flink.denied", fault.RetryNever, fmt.Errorf("%s: %s", resp.Status, said),
			"give what the server asks for: --flink-header for a token or password, --flink-cert and --flink-key for a certificate")
	case code == http.StatusNotFound && q.missing != "" && fromFlink(body):
		return c.failure(q, "flink.missing", fault.RetryNever, errors.New("there is no "+q.missing), "adf flink list shows the jobs of the cluster")
	case code == http.StatusNotFound:
		return c.failure(q, "flink.answer", fault.RetryNever, fmt.Errorf("%s does not have %s: %s", c.Address(), resp.Request.URL.Path, said),
			"check that it is Flink's REST server, and the version of Flink")
	case code == http.StatusServiceUnavailable, code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		return c.failure(q, "flink.unavailable", fault.RetryLater, err, "wait: the JobManager is starting, or a leader is being elected")
	case code == http.StatusRequestEntityTooLarge:
		return c.failure(q, "flink.too_large", fault.RetryNever, err, "raise rest.server.max-content-length of the cluster, or the limit of what stands before it")
	case q.runs:
		return c.failure(q, "flink.program", fault.RetryNever, err, "the JobManager's log has the whole of it")
	case code >= 500:
		return c.failure(q, "flink.server", fault.RetryLater, err, "the JobManager's log has the whole of it")
	}
	return c.failure(q, "flink.refused", fault.RetryNever, err, "")
}

// fromFlink says whether an error is in Flink's form.
func fromFlink(body []byte) bool {
	var e struct {
		Errors []string `json:"errors"`
	}
	return json.Unmarshal(body, &e) == nil && len(e.Errors) > 0
}

// said is what the server said, in short: of a stack trace its first and its deepest cause.
func said(body []byte) string {
	var e struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &e) != nil {
		return excerpt(body)
	}
	var all []string
	for _, x := range e.Errors {
		if x = Cause(x); x != "" && !strings.HasPrefix(x, "Internal server error") {
			all = append(all, x)
		}
	}
	if len(all) == 0 && len(e.Errors) > 0 {
		return e.Errors[0]
	}
	return strings.Join(all, "; ")
}

// Cause is a Java stack trace in one line: what happened, and the deepest cause where that says more. Of what a worker said it is what comes behind the
// frames of Beam's harness.
func Cause(trace string) string {
	trace = strings.TrimPrefix(strings.TrimSpace(trace), "<Exception on server side:")
	var causes []string
	inside := false // a message, which may have several lines
	for line := range strings.Lines(trace) {
		line = strings.TrimRight(line, "\r\n")
		text := strings.TrimSpace(line)
		cause, deeper := strings.CutPrefix(text, "Caused by: ")
		switch {
		case deeper:
			causes, inside = append(causes, cause), true
		case text == "", strings.HasPrefix(text, "End of exception"), strings.HasPrefix(text, "Suppressed: "):
		case strings.HasPrefix(text, "at "), strings.HasPrefix(text, "... ") && strings.HasSuffix(text, " more"):
			inside = false
		case len(causes) == 0:
			causes, inside = append(causes, text), true
		case inside:
			causes[len(causes)-1] += "\n" + text
		}
	}
	if len(causes) == 0 {
		return ""
	}
	first, deepest := oneLine(plain(causes[0])), plain(causes[len(causes)-1])
	if said, ok := strings.CutPrefix(deepest, "Error received from SDK harness for instruction "); ok {
		return oneLine(behindHarness(said))
	}
	deepest = oneLine(deepest)
	if strings.HasSuffix(first, deepest) || strings.HasSuffix(deepest, first) {
		return first
	}
	return first + ": " + deepest
}

// frame is a line that Beam's Go harness puts before the error of a DoFn.
var frame = regexp.MustCompile(`^(?:caused by:|\d+: |.* failed for instruction |error processing timer |ontimer callback |source failed|.*DoFn.*(?:failed|fails)|while executing )`)

func behindHarness(said string) string {
	lines := strings.Split(said, "\n")
	from := 0
	for i, line := range lines[:len(lines)-1] {
		if frame.MatchString(line) {
			from = i + 1
		}
	}
	return strings.Join(lines[from:], "\n")
}

// oneLine also bounds what a worker may say at great length: beginning and end tell most.
func oneLine(text string) string {
	const most = 2000
	text = strings.Join(strings.Fields(text), " ")
	const cut = " … "
	if half := (most - len(cut)) / 2; len(text) > most {
		text = strings.ToValidUTF8(text[:half], "") + cut + strings.ToValidUTF8(text[len(text)-half:], "")
	}
	return text
}

var (
	// carriers are exceptions that say nothing by their name.
	carriers  = regexp.MustCompile(`^(?:[a-z][\w$]*\.)+(?:CompletionException|RestHandlerException|NotFoundException|RuntimeException|FlinkRuntimeException|FlinkException|ExecutionException): `)
	exception = regexp.MustCompile(`^(?:[a-z][\w$]*\.)+([A-Z][\w$]*): `)
)

// plain is an exception without the names of packages, and without those around it that only carry it.
func plain(line string) string {
	line = strings.TrimRight(strings.TrimSuffix(strings.TrimSpace(line), ">"), ". ")
	for {
		inner := carriers.ReplaceAllString(line, "")
		if inner == line {
			return exception.ReplaceAllString(line, "$1: ")
		}
		line = inner
	}
}

func excerpt(data []byte) string {
	const most = 200
	text := strings.Join(strings.Fields(string(data[:min(len(data), mostText)])), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// FinalMark begins the text of a worker's error that no retry helps against: Beam makes a text of every error, and Flink starts the job again whatever it says.
const FinalMark = "in vain to start again: "

// told is an error of a worker or a pool in the words of package fault: kind, text, where, code, fix.
var (
	told   = regexp.MustCompile(`(?:^|: )(?:runtime: |((?:runtime|source|sink|configuration) \S+: ))(.*?)( \((?:flow|run|node|split) [^()]*\))? \[([a-z0-9_]+(?:\.[a-z0-9_]+)+)\](?:; (.*))?$`)
	ofNode = regexp.MustCompile(`node ([^,()]+)`)
)

// FaultOf is the error in a stack trace, with the code that a worker has given it, and else with "flink.job"; final says that no retry helps against it.
func FaultOf(trace string) (d fault.Detail, final bool) {
	d = fault.Detail{Code: "flink.job", Retry: fault.RetryNever}
	cause := Cause(trace)
	if cause == "" {
		return d, false
	}
	if _, text, ok := strings.Cut(cause, FinalMark); ok {
		cause, final = text, true
	}
	if m := told.FindStringSubmatch(cause); m != nil {
		cause, d.Code, d.Fix = m[1]+m[2], m[4], m[5]
		if node := ofNode.FindStringSubmatch(m[3]); node != nil {
			d.Node = node[1]
		}
	}
	d.Err = errors.New(cause)
	return d, final
}
