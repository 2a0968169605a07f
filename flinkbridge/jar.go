package flinkbridge

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/protox"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/klauspost/compress/flate"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/activedataflow/adf/deploy/flink/runner"
	"github.com/activedataflow/adf/fault"
)

// jobJar is what a job JAR is made of: the runner's classes, the pipeline, its options, and the program that the workers run.
type jobJar struct {
	name     string
	runner   string // path of the runner JAR
	worker   string // path of the program
	pipeline *pipepb.Pipeline
	options  map[string]any
}

// file writes the JAR into a temporary file, which is the caller's to remove.
func (j *jobJar) file() (path string, err error) {
	f, err := os.CreateTemp("", j.name+"-*.jar")
	if err == nil {
		err = j.write(f)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			return f.Name(), nil
		}
		os.Remove(f.Name())
	}
	fix := "give a runner JAR and a program that can be read"
	if p := (*fs.PathError)(nil); errors.As(err, &p) && strings.HasPrefix(p.Path, os.TempDir()) {
		fix = "it is made in " + os.TempDir() + ", and takes as much room as the runner JAR and the program together; $TMPDIR names another folder"
	}
	return "", &fault.RuntimeError{Detail: fault.Detail{Code: "bridge.jar", Doing: "make the job JAR", Retry: fault.RetryNever, Err: err, Fix: fix}}
}

// write writes the JAR. The runner's parts are copied as they are packed.
func (j *jobJar) write(to io.Writer) (err error) {
	worker, sum, err := hashed(j.worker)
	if err != nil {
		return err
	}
	defer worker.Close()
	parts, err := zip.OpenReader(j.runner)
	if err != nil {
		return err
	}
	defer parts.Close()
	folder := "BEAM-PIPELINE/" + j.name + "/"
	program := folder + "artifacts/worker-" + sum[:16]
	payload := protox.MustEncode(&pipepb.ArtifactFilePayload{Path: "classpath://" + program, Sha256: sum})
	if err := graphx.UpdateDefaultEnvWorkerType(graphx.URNArtifactFileType, payload, j.pipeline); err != nil {
		return err
	}
	pipeline, err := protojson.Marshal(j.pipeline)
	if err != nil {
		return err
	}
	options, err := j.optionsJSON()
	if err != nil {
		return err
	}
	z := zip.NewWriter(to)
	// The program is large and is unpacked soon: quickly packed is better than small.
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, part := range parts.File {
		if strings.HasPrefix(part.Name, "BEAM-PIPELINE/") {
			return fmt.Errorf("%s is a job JAR already, want a runner JAR", j.runner)
		}
		if err := z.Copy(part); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name    string
		content io.Reader
	}{
		{"BEAM-PIPELINE/pipeline-manifest.json", strings.NewReader(fmt.Sprintf(`{"defaultJobName":%q}`, j.name))},
		{folder + "pipeline.json", bytes.NewReader(pipeline)},
		{folder + "pipeline-options.json", bytes.NewReader(options)},
		{strings.ReplaceAll(runner.BoundedManifestName, ".", "/") + ".class", bytes.NewReader(runner.BoundedManifest)},
		{program, worker},
	} {
		w, err := z.Create(f.name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, f.content); err != nil {
			return err
		}
	}
	return z.Close()
}

// optionsJSON gives the options as the runner reads them.
func (j *jobJar) optionsJSON() ([]byte, error) {
	all := map[string]any{
		"beam:option:job_name:v1":    j.name,
		"beam:option:app_name:v1":    j.name,
		"beam:option:go_options:v1":  runtime.RawOptionsWrapper{Options: beam.PipelineOptions.Export()},
		"beam:option:experiments:v1": []string{"beam_fn_api"},
	}
	for name, value := range j.options {
		all["beam:option:"+name+":v1"] = value
	}
	return json.Marshal(all)
}

// hashed opens a file and gives its SHA-256 in hexadecimal digits.
func hashed(path string) (f *os.File, sum string, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, "", err
	}
	h := sha256.New()
	if _, err = io.Copy(h, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, hex.EncodeToString(h.Sum(nil)), nil
}
