using FedICU;
using FedICU.Fedn;

WebApplication? app = null;
try
{
    try
    {
        app = FednHost.Build(args);
        await app.StartAsync();
    }
    // any failure before the host listens is a configuration error, such as a port in use or a missing certificate
#pragma warning disable CA1031
    catch (Exception e)
#pragma warning restore CA1031
    {
        await Console.Error.WriteLineAsync(e is FedIcuException ? e.Message : $"The host cannot start: {FednHost.Describe(e)}");
        return 1;
    }

    await app.WaitForShutdownAsync();
    return 0;
}
finally
{
    if (app is not null)
        await app.DisposeAsync();
}
