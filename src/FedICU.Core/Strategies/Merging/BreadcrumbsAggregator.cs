namespace FedICU;

/// <summary>Breadcrumbs (<see cref="Breadcrumbs"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class BreadcrumbsAggregator(BreadcrumbsOptions? options = null) : StageAggregator(new Breadcrumbs(options));
