/**
 * Tells onnxruntime to report nothing: to be imported before onnxruntime-node, for its effect alone.
 *
 * Since 1.29 the official builds send usage data to their maker and keep identifiers and logs in the temporary folder,
 * unless this variable is set before the library is loaded (microsoft/onnxruntime #27379). Nothing here may leave the
 * machine unasked, so it is set whatever the environment says.
 */

process.env.ORT_DISABLE_TELEMETRY = '1'
