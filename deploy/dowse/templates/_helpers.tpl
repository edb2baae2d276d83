{{- define "dowse.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods of a program are found: (list $ "service") */}}
{{- define "dowse.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "dowse.labels" -}}
{{- $root := index . 0 -}}
{{ include "dowse.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* Image of a program: (list $ "service") */}}
{{- define "dowse.image" -}}
{{- $root := index . 0 -}}
{{- $images := $root.Values.images -}}
{{- with $images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ get $images (index . 1) }}:{{ default $root.Chart.AppVersion $images.tag }}
{{- end -}}

{{- define "dowse.claim" -}}
{{- default (printf "%s-data" (include "dowse.fullname" .)) .Values.data.existingClaim -}}
{{- end -}}

{{/* Not empty where several nodes can mount the volume */}}
{{- define "dowse.shared" -}}
{{- if or .Values.data.existingClaim (has "ReadWriteMany" .Values.data.accessModes) -}}yes{{- end -}}
{{- end -}}

{{- define "dowse.storeSecret" -}}
{{- if .Values.store.existingSecret -}}
{{- .Values.store.existingSecret -}}
{{- else if .Values.store.token -}}
{{- include "dowse.fullname" . }}-store
{{- end -}}
{{- end -}}

{{- define "dowse.keysSecret" -}}
{{- if .Values.keys.existingSecret -}}
{{- .Values.keys.existingSecret -}}
{{- else if .Values.keys.file -}}
{{- include "dowse.fullname" . }}-keys
{{- end -}}
{{- end -}}

{{/* Address of Milvus: the one that is given, or that of the dependency's Service, whose name its own chart makes so */}}
{{- define "dowse.storeUri" -}}
{{- if .Values.store.uri -}}
{{- .Values.store.uri -}}
{{- else -}}
{{- $milvus := .Values.milvus -}}
{{- $name := default "milvus" $milvus.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
http://{{ default $full $milvus.fullnameOverride | trunc 63 | trimSuffix "-" }}:{{ dig "service" "port" 19530 $milvus }}
{{- end -}}
{{- end -}}

{{- define "dowse.storeEnv" -}}
{{- if eq .Values.store.kind "milvus" -}}
- {name: DOWSE_STORE, value: milvus}
- {name: DOWSE_STORE_URI, value: {{ include "dowse.storeUri" . | quote }}}
- {name: DOWSE_STORE_ALIAS, value: {{ .Values.store.alias | quote }}}
{{- with include "dowse.storeSecret" . }}
- name: DOWSE_STORE_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ . }}, key: token}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What is the same in every pod: (list $ values-of-the-program) */}}
{{- define "dowse.pod" -}}
{{- $root := index . 0 -}}
{{- $own := index . 1 -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What is the same in every container: (list $ "service" values-of-the-program) */}}
{{- define "dowse.container" -}}
{{- $root := index . 0 -}}
{{- $own := index . 2 -}}
image: {{ include "dowse.image" (list $root (index . 1)) }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
securityContext: {{- toYaml $root.Values.securityContext | nindent 2 }}
resources: {{- toYaml $own.resources | nindent 2 }}
{{- with $own.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Flags that trainer and indexer must have in common, or each would read another corpus */}}
{{- define "dowse.corpusArgs" -}}
{{- $corpus := .Values.corpus -}}
- {{ default "/data/corpus.parquet" $corpus.source | quote }}
{{- range $flag, $value := dict "query" $corpus.query "id-column" $corpus.idColumn "text-column" $corpus.textColumn "title-column" $corpus.titleColumn }}
{{- with $value }}
- {{ printf "--%s=%s" $flag . | quote }}
{{- end }}
{{- end }}
{{- end -}}
