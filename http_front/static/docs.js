// Shows the service's own OpenAPI document. Nothing is fetched from elsewhere: no validator, no fonts.
window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
});
